"""`popgate doctor`: what the facts of a host mean, a module a part; pure."""
