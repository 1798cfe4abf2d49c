"""Settings of Dovecot under which logs were recorded, as doveconf prints them."""

from __future__ import annotations

CUSTOM_23 = {
    "login_log_format_elements": "session=<%{session}> rip=%r:%{rport} lip=%l:%{lport} %k user=%u "
    "mech=%m pid=%e",
    "login_log_format": "%s - %$",
}
QUOTED_24 = {
    "login_log_format_elements": '%{session} [%{remote_ip}] %{mechanism} %{secured} "%{user}"',
}
PREFIX_23 = {"mail_log_prefix": "%s[%p](user=%u rip=%r sess=%{session}): "}
STAMP_23 = {"log_timestamp": "%Y-%m-%dT%H:%M:%S%z "}
NO_SESSION_24 = {
    "log_timestamp": "%Y-%m-%d %H:%M:%S ",
    "login_log_format_elements": "user=<%{user}> method=%{mechanism} rip=%{remote_ip} "
    "lip=%{local_ip} mpid=%{mail_pid} %{secured}",
}
OF_LOG = {
    "dovecot-2.3.19/syslog-customorder-k.iso": CUSTOM_23,
    "dovecot-2.3.19/syslog-mailprefix.iso": PREFIX_23,
    "dovecot-2.4.4/syslog-quoteduser.iso": QUOTED_24,
    "dovecot-2.3.19/file-isots": STAMP_23,
    "dovecot-2.4.4/file-customts-nosession": NO_SESSION_24,
}
"""What was set for the recorded logs that had other settings than the defaults."""
