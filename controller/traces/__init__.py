"""Where spans are kept, found and added up. Begin at port; wire carries its questions to another process."""
