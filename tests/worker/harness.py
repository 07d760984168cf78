# SPDX-License-Identifier: MIT
"""A worker process for the tests: started, asked over HTTP, its log read, stopped."""
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WORKER = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else sys.exit(f"usage: {sys.argv[0]} WORKER_BINARY [unittest arguments]")
PATIENCE = 60  # seconds for what is to happen at once; a loaded machine and a sanitizer take their time


class Worker:
    """A worker process serving one of the scripts, on a port that the system chose."""

    def __init__(self, script, *arguments):
        self.process = subprocess.Popen(
            [WORKER, "serve", os.path.join(HERE, "scripts", script), "--port", "0", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
        self.log_lines = []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read_log, daemon=True)
        self.reader.start()
        line = self.process.stdout.readline()
        match = re.fullmatch(r"worker: listening on http://127\.0\.0\.1:(\d+)/\n", line)
        if not match:
            self.process.wait(PATIENCE)
            self.reader.join(PATIENCE)
            raise RuntimeError(f"the worker did not start: {line!r}\n{self.log()}")
        self.port = int(match[1])

    def _read_log(self):
        for line in self.process.stderr:
            with self.news:
                self.log_lines.append(line)
                self.news.notify_all()

    def log(self):
        with self.news:
            return "".join(self.log_lines)

    def wait_for_log(self, pattern):
        deadline = time.monotonic() + PATIENCE
        with self.news:
            while not re.search(pattern, "".join(self.log_lines)):
                if not self.news.wait(deadline - time.monotonic()):
                    raise AssertionError(f"not in the log: {pattern}\n" + "".join(self.log_lines))

    def request(self, path, method="GET", body=None, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def text(self, path, **more):
        return self.request(path, **more)[2].decode()

    def json(self, path, **more):
        return json.loads(self.text(path, **more))

    def stop(self, how=signal.SIGTERM):
        """Asks it to stop; returns the exit code. A sanitizer's report is an exit code too."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        code = self.stop()
        if kind is None and code != 0:
            raise AssertionError(f"the worker ended with {code}\n{self.log()}")


def run_to_end(*arguments):
    done = subprocess.run([WORKER, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stdout, done.stderr
