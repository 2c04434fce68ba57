#!/usr/bin/env python3
"""A receiver of webhooks that verifies them with the `standardwebhooks` library of PyPI.

    tools/webhooks/python tools/webhooks/receive.py --secret whsec_...

Prints its address, then a line for each report. For tests, and to copy from.
"""

import argparse
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


def handler_for(webhook: Webhook) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                report = webhook.verify(body, dict(self.headers))
                self.answer(204)
                id = self.headers["webhook-id"]
                print("verified", id, report["status"], report["socketaccesstoken"], flush=True)
            except WebhookVerificationError as error:
                self.answer(400)
                print("refused", error, flush=True)

        def answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


parser = argparse.ArgumentParser()
parser.add_argument("--secret", required=True, help="as `tintype project show` prints it")
parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
arguments = parser.parse_args()
server = HTTPServer(("127.0.0.1", arguments.port), handler_for(Webhook(arguments.secret)))
print(f"http://127.0.0.1:{server.server_port}/hook", flush=True)
server.serve_forever()
