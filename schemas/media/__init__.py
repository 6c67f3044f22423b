"""Images, sounds and videos: bytes in, bytes as an endpoint file wants them out."""
