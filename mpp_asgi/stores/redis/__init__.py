"""The store on a Redis server, for any number of hosts."""
