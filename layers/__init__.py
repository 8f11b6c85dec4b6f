"""What a network is made of beside the links and functions at top level."""
