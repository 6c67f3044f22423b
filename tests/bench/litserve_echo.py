"""The echo by LitServe, as it is out of the box: run by an interpreter that has it, with a port.

Nothing of ours is imported: LitServe is no dependency of the project.
"""

import sys

import litserve


class Echo(litserve.LitAPI):
    """Gives the text back, in a body that looks like ours."""

    def setup(self, device):
        """Nothing to load."""

    def decode_request(self, request):
        return request["text"]

    def predict(self, text):
        return text

    def encode_response(self, text):
        return {"success": True, "text": text}


if __name__ == "__main__":
    server = litserve.LitServer(Echo(), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
