"""Rules to tables: rendered, checked, put in place, told to Postfix, committed to git."""
