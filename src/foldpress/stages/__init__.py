"""Each stage as one function on files, of the same name as its command."""
