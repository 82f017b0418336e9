"""HTTP: the API, REST xDS, and health."""
