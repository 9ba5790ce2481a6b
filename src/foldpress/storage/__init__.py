"""Graphs at rest: as small as the information in their weights allows, and exactly the same bytes when unpacked."""
