"""The process that tells events live, over Socket.IO. It asks and tells; it changes nothing, and imports no Flask."""
