"""`popgate doctor`: the facts of a host, gathered without changing any; a module a part."""
