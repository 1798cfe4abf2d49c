"""The policy service: Postfix asks whether a client's grant is for the sender, and is answered."""
