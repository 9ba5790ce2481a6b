"""The commands of the command line, by group: one thin function a command."""
