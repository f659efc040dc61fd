"""An endpoint for the tests of generation, as a process of its own: `python generation_server.py PORT_FILE COUNT_FILE`.

What it answers depends on the prompt alone. On the way it is as bad as endpoints are: busy (429), failing (500), silent until
the client's time is up, cutting the connection, or sending what is no JSON. Some answers are cut at the limit, some hold garbage.
Each answer that was sent whole is a line of COUNT_FILE: the hash of its prompt.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERBS = ["写", "翻译", "概括", "解释", "列出", "比较", "设计", "计算", "判断", "提取", "改写", "介绍", "分析", "推荐", "证明"]
OBJECTS = ["诗", "报告", "句子", "段落", "程序", "菜单", "计划", "电路", "公式", "广告"]
OBJECTS += ["信", "故事", "价格", "地图", "合同", "日记", "通知", "表格", "歌词", "谜语"]
SILENCE = 1.5
"""Seconds of a reply that comes too late."""


def answer(prompt: str) -> tuple[str, str]:
    """(text, finish reason): five tasks, some of them as of other prompts, a tenth of all answers garbage or cut."""
    lot = random.Random(hashlib.sha256(prompt.encode()).hexdigest())
    kind = lot.random()
    if kind < 0.05:
        return lot.choice(["抱歉，我不能。", "", '{"tasks": [', "###\n###\n###", "指令：\n输出："]), "stop"
    tasks = []
    for number in range(1, 6):
        if lot.random() < 0.2:  # what comes again and again
            asked = f"写一首关于{lot.choice('春夏秋冬')}天的诗"
        else:
            verb, other = lot.choice(VERBS), lot.choice(OBJECTS)
            asked = f"{verb}一份{lot.choice(OBJECTS)}，主题是{other}，给{lot.choice(OBJECTS)}用，限{lot.randrange(1000)}字"
        tasks.append(
            f"### {number}\n类别：写作\n指令：{asked}\n输入：<无输入>\n输出：第{lot.randrange(10**6)}号回答，内容具体而完整。"
        )
    text = "\n\n".join(tasks)
    return (text[: -lot.randrange(5, 40)], "length") if kind < 0.12 else (text, "stop")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults = random.Random()
    lock = threading.Lock()
    count_file: Path

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        lot = self.faults.random()
        if self.headers.get("Authorization") != "Bearer right":
            return self._send(401, b'{"error": {"message": "Incorrect API key provided"}}')
        if lot < 0.08:
            return self._send(429, b'{"error": {"message": "Rate limit reached"}}', {"Retry-After": "0.05"})
        if lot < 0.12:
            return self._send(500, b"<html>Internal Server Error</html>")
        if lot < 0.14:
            time.sleep(SILENCE)
        if lot < 0.17:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{")
            self.close_connection = True
            return None
        if lot < 0.20:
            return self._send(200, b'{"choices": [')
        prompt = body["messages"][-1]["content"]
        text, finish = answer(prompt)
        time.sleep(self.faults.random() * 0.06)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(text), "total_tokens": len(prompt) + len(text)}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        with self.lock, self.count_file.open("a") as file:
            file.write(hashlib.sha256(prompt.encode()).hexdigest() + "\n")
        return self._send(200, json.dumps({"id": "x", "model": body["model"], "choices": [choice], "usage": usage}).encode())

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):  # the client was killed, or had no patience
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        pass


def main(port_file: str, count_file: str) -> None:
    Handler.count_file = Path(count_file)
    server = Server(("127.0.0.1", 0), Handler)
    part = Path(port_file + ".part")
    part.write_text(str(server.server_address[1]))
    part.rename(port_file)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
