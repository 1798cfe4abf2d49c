"""The errors of popgate: one root, a subclass a stage, each with the exit code it ends with.

An error's text is one line for an admin: what failed, where, and what to do now.
Exit codes: 0 done, 1 a finding, 2 usage or bad configuration, 3 a system part failed.
"""

from tracker.texts import visible, without_secrets

DONE = 0
FINDING = 1
USAGE = 2
SYSTEM = 3

_LONGEST = 2000
"""Characters of a problem that are shown: a value of a setting may be of any length."""


class PopgateError(Exception):
    """The root of all errors that popgate raises on purpose."""

    exit_code = SYSTEM


class ConfigError(PopgateError):
    """The configuration is wrong; `problems` holds one line for each fault found, whatever the file
    holds: fit for a terminal, and without the passwords of URLs."""

    exit_code = USAGE

    def __init__(self, problems: list[str]) -> None:
        self.problems = [visible(without_secrets(problem), _LONGEST) for problem in problems]
        super().__init__("\n".join(self.problems))


class FormatError(PopgateError):
    """A log format file is wrong, or its own examples do not prove it."""

    exit_code = USAGE


class TrustedError(PopgateError):
    """The trusted list has a line that cannot be understood."""

    exit_code = USAGE


class ListError(PopgateError):
    """A list of domains, senders or clients has a line that cannot be understood."""

    exit_code = USAGE


class AddressError(PopgateError):
    """A text that should be an IP address is none."""

    exit_code = USAGE


class ReadingError(PopgateError):
    """A log cannot be read."""


class StoreError(PopgateError):
    """The state database cannot be opened, read or written."""


class DamagedError(StoreError):
    """The state database is damaged."""


class PublishError(PopgateError):
    """A table could not be put in place; the last good one stays."""


class ExportError(PopgateError):
    """An export could not be written or taken up; the last good one stays."""


class PostfixError(PopgateError):
    """A Postfix command is missing, failed, said something on stderr or hung."""


class PostfixTimeoutError(PostfixError):
    """A Postfix command did not end in time and was killed."""


class PolicyError(PopgateError):
    """The policy service cannot listen, or was asked what is no request."""


class MetricsError(PopgateError):
    """Figures cannot be given to Prometheus; all else goes on."""


class AuditError(PopgateError):
    """git is missing or a commit failed; the tables are not touched by this."""


class ListFileError(PopgateError):
    """A file that admins edit too cannot be locked or replaced; it is as it was."""


class SetupError(PopgateError):
    """A file of the configuration cannot be written; what was there is as it was."""


class InstallError(PopgateError):
    """popgate could not be put into main.cf and master.cf, or taken out; both are as they were."""


class RefusedError(PopgateError):
    """Installing would weaken or break mail as things stand; nothing was changed."""

    exit_code = USAGE


class TerminalError(PopgateError):
    """A command needs a terminal and has none."""

    exit_code = USAGE
