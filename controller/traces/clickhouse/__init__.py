"""Trace store on ClickHouse: embedded chDB in a folder, or a server by URL. Begin at store, then schema."""
