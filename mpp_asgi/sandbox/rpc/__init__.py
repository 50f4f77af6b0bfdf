"""The JSON-RPC methods of a Stellar RPC server."""
