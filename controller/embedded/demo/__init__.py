"""The story that `serinus demo` tells on a running stack: a good release, a bad one, an alert. Begin at story."""
