"""Real servers on this machine for the demo, the end-to-end tests and the benchmarks.

Dovecot and Postfix from Debian's packages, each with its own configuration, queue, state and ports,
in network namespaces with documentation addresses where the machine allows it. Nothing of the host
is read or changed, and all of it is gone at the end.
"""
