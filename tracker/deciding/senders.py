"""What Postfix makes of an address before it asks a table: rewritten, resolved, looked up; pure.

Postfix completes and turns round what a client sends, strips its own domains from the right as long
as an address is left inside, and then asks check_sender_access tables for the whole address, the
address without its extension, the domain and its parents, and the local part: access(5),
trivial-rewrite(8), and smtpd_check.c of Postfix 3.7. The tables are made for these keys and
`decide` asks them in this order, so the two agree.
"""

from __future__ import annotations

from tracker.addresses import canonical
from tracker.deciding.mailaddress import Token, first, join, last, quote, scan
from tracker.records import MailHost

_ROUTING = ("@", "!", "%")


def fold(text: str, host: MailHost) -> str:
    """A key as Postfix folds it: by Unicode's rules where it knows UTF-8, else ASCII alone."""
    if host.smtputf8:
        return text.casefold()
    return "".join(char.lower() if char.isascii() else char for char in text)


def lookups(sender: str, host: MailHost) -> tuple[str, ...]:
    """The keys that check_sender_access asks a table for, in order. `sender` is in internal form.

    The null sender is asked for as <>, which no entry is.
    """
    if not sender:
        return ("<>",)
    address, _ = resolve(sender, host)
    whole = fold(address, host)
    local, _, domain = whole.rpartition("@")
    bare = without_extension(whole, host.delimiters)
    keys = [
        whole,
        *([bare] if bare else []),
        *parents(domain, dotted=not host.parents),
        f"{local}@",
    ]
    if bare:
        keys.append(bare[: bare.rindex("@") + 1])
    return tuple(keys)


def parents(domain: str, *, dotted: bool) -> list[str]:
    """A domain and what stands above it; `dotted`: with a dot before each, as Postfix asks where
    parent_domain_matches_subdomains does not hold."""
    keys = [domain]
    while (dot := keys[-1].find(".", 1)) >= 0:
        above = keys[-1][dot if dotted else dot + 1 :]
        if not above:
            break
        keys.append(above)
    return keys


def resolve(address: str, host: MailHost) -> tuple[str, bool]:
    """The address that Postfix delivers to, in internal form, and whether its domain is one that is
    delivered on this very host (mydestination, or an address literal of its own)."""
    tree = _rewritten(scan(quote(address)), host)
    tree = scan(quote(join(tree)))
    saved: list[Token] = []
    for _ in range(len(address) + 100):
        tree = _without_tail(tree)
        at = last(tree, "@")
        if at >= 0:
            if at + 1 < len(tree) and not _is_local(join(tree[at + 1 :]), host):
                return join(tree), False
            saved, tree = tree[at:], tree[:at]
        if _has_route(tree, host):
            tree = _rewritten(tree, host)
        elif (opened := _opened(tree, host)) is not None:
            tree = _rewritten(opened, host)
        else:
            break
    if not tree or (len(tree) == 1 and tree[0] == Token("quoted")):
        tree = [Token("word", "MAILER-DAEMON")]
    saved = saved or [Token("@"), *scan(host.myhostname)]
    return join([*tree, *saved]), True


def routed(address: str) -> bool:
    """Whether a resolved address still holds a route (x%d@e, x@d@e), which Postfix does not relay
    for strangers."""
    at = min((place for mark in _ROUTING if (place := address.find(mark)) >= 0), default=0)
    return address[at + 1 :] != address.rpartition("@")[2]


def _rewritten(tokens: list[Token], host: MailHost) -> list[Token]:
    """trivial-rewrite's rules: source routes go, bang and percent forms are turned round, and what
    is missing is added."""
    tree = list(tokens)
    if not tree or tree == [Token("quoted")]:
        return tree
    if tree == [Token("@")]:
        return [Token("quoted")]
    if tree[0].kind == "@" and 0 <= (colon := first(tree, ":")) < len(tree) - 1:
        tree = tree[colon + 1 :]
    if last(tree, "@") < 0:
        tree = _with_domain(tree, host)
    at = last(tree, "@")
    domain = tree[at + 1 :]
    if (
        host.append_dot_mydomain
        and at >= 0
        and domain
        and not any(token.kind in (".", "literal") for token in domain)
    ):
        tree += [Token("."), *scan(host.mydomain)]
    if len(tree) > 1 and tree[-1].kind == "." and tree[-2].kind not in (".", "@"):
        tree.pop()
    return tree


def _with_domain(tree: list[Token], host: MailHost) -> list[Token]:
    bang, percent = first(tree, "!"), last(tree, "%")
    if host.swap_bangpath and bang >= 0:
        return [*tree[bang + 1 :], Token("@"), *tree[:bang]]
    if host.percent_hack and percent >= 0:
        return [*tree[:percent], Token("@"), *tree[percent + 1 :]]
    if host.append_at_myorigin:
        return [*tree, Token("@"), *scan(host.myorigin)]
    return tree


def _without_tail(tree: list[Token]) -> list[Token]:
    """A last dot of the domain, or a last @, means nothing."""
    if len(tree) > 1 and tree[-1].kind == "." and tree[-2].kind != "." and last(tree, "@") >= 0:
        tree = tree[:-1]
    if tree and tree[-1].kind == "@":
        tree = tree[:-1]
    return tree


def _has_route(tree: list[Token], host: MailHost) -> bool:
    return (
        last(tree, "@") >= 0
        or (host.swap_bangpath and last(tree, "!") >= 0)
        or (host.percent_hack and last(tree, "%") >= 0)
    )


def _opened(tree: list[Token], host: MailHost) -> list[Token] | None:
    """A quoted local part that holds a route, taken out of its quotes; None when it holds none."""
    if not host.resolve_dequoted or len(tree) != 1 or tree[0].kind != "quoted":
        return None
    text = tree[0].text
    if (at := text.rfind("@")) >= 0:
        return scan(quote(text))
    if host.percent_hack and (at := text.rfind("%")) >= 0:
        return scan(quote(f"{text[:at]}@{text[at + 1 :]}"))
    if host.swap_bangpath and "!" in text:
        return scan(text)
    return None


def _is_local(domain: str, host: MailHost) -> bool:
    """resolve_local(3): mydestination, or an address literal of one of this host's addresses."""
    name = domain[:-1] if domain.endswith(".") else domain
    if fold(name, host) in host.domains.get("mydestination", frozenset()):
        return True
    if not (name.startswith("[") and name.endswith("]")):
        return False
    literal = name[1:-1]
    if literal[:5].lower() == "ipv6:":
        literal = literal[5:]
    return canonical(literal) in host.own


def without_extension(address: str, delimiters: str) -> str | None:
    """The address without its extension, or None when it has none (split_addr(3))."""
    local, at, domain = address.rpartition("@")
    if local in ("mailer-daemon", "double-bounce", "postmaster") or not delimiters:
        return None
    if "-" in delimiters and (local.startswith("owner-") or local.endswith("-request")):
        return None
    cut = next((place for place, char in enumerate(local) if char in delimiters), -1)
    if cut <= 0:
        return None
    return f"{local[:cut]}{at}{domain}"
