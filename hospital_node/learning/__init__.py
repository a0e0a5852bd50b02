"""What a study is made of and runs in; the only rooms here that know torch, and Flower. Nothing of the node's core imports them."""
