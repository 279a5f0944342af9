"""A chat on a pseudo-terminal: typing, pasting, signals, resizing, a closed terminal."""

import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest

import program
from program import MODEL, run

PASTE = "\x1b[200~{}\x1b[201~"
# What the model is shown is the message itself, so that what was sent can be read from the number of its tokens.
ECHO = "{% for m in messages %}{{ m.role }}:{{ m.content }}|{% endfor %}"
STORY = program.SHARED / "models/stories260K-F32.gguf"


def story():
    """A model that answers within milliseconds, or the default one."""
    if STORY.exists():
        return STORY
    program.need_model()
    return MODEL


class Terminal:
    """The binary on a pseudo-terminal; with `job`, as the child of a process that may stop and continue it."""

    def __init__(self, *arguments, env=None, job=False):
        self.screen = ""
        self.all = ""
        try:
            self.fd, child = pty.openpty()
        except OSError as error:
            raise unittest.SkipTest(f"this machine gives no pseudo-terminal: {error}") from error
        self.before = termios.tcgetattr(child)
        self.resize(80)

        def own_the_terminal():
            if not job:
                os.setsid()
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        # A process whose group has no parent in its session cannot be stopped from the terminal.
        starter = ["python3", "-c", """
import fcntl, os, signal, sys, termios
os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
pid = os.fork()
if not pid:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    os.tcsetpgrp(0, os.getpgrp())
    print('STOPPED', 'echo' if termios.tcgetattr(0)[3] & termios.ECHO else 'raw', flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, pid)
    os.kill(pid, signal.SIGCONT)
"""] if job else []
        self.process = subprocess.Popen([*starter, program.BINARY, *map(str, arguments)], stdin=child, stdout=child, stderr=child,
                                        env={**os.environ, "TERM": "xterm", **(env or {})}, preexec_fn=own_the_terminal)
        os.close(child)

    def resize(self, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode() if isinstance(text, str) else text)

    def read_some(self):
        if not select.select([self.fd], [], [], 0.1)[0]:
            return False
        try:
            part = os.read(self.fd, 65536).decode(errors="replace")
        except OSError:
            return False
        self.screen += part
        self.all += part
        return bool(part)

    def wait_for(self, words, seconds=60):
        end = time.monotonic() + seconds
        while words not in self.screen:
            if not self.read_some() and (self.process.poll() is not None or time.monotonic() > end):
                raise AssertionError(f"{words!r} did not come; the screen shows {self.screen[-2000:]!r}")
        before, self.screen = self.screen.split(words, 1)
        return before

    def wait_for_prompt(self):
        self.wait_for("\x1b[J> ")

    def say(self, text):
        """Sends a message; the timings that end its answer."""
        self.type(text + "\r")
        return self.wait_for("tokens in ")

    def ask_for_tokens(self, text):
        """How many tokens the prompt had that the message made (nothing of it is cached)."""
        self.say(text)
        return int(re.findall(r"\[(\d+) prompt tokens", self.all)[-1])

    def wait(self, seconds=30):
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.read_some()
        if self.process.poll() is None:
            raise AssertionError("the program did not end")
        while self.read_some():  # what it wrote last
            pass
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        if self.fd is not None:
            os.close(self.fd)

    def close_terminal(self):
        os.close(self.fd)
        self.fd = None
        return self.process.wait(30)


class Chat(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.need_model()
        with tempfile.NamedTemporaryFile("w", suffix=".jinja", delete=False) as file:
            file.write(ECHO)
        cls.addClassCleanup(os.unlink, file.name)
        cls.template = file.name

    def chat(self, *arguments, model=None, **options):
        return self.enterContext(Terminal("run", model or story(), "--chat-template", self.template, "--temperature", 0,
                                          "--no-enable-prefix-caching", *arguments, **options))

    def tokens_of(self, *messages):
        """What ask_for_tokens() says of the last of these messages of the user, with answers of one token between."""
        done = run("tokenize", MODEL, "--count", "--no-special", input="".join(f"user:{m}|" for m in messages))
        return int(done.stdout)

    def assert_sent(self, chat, typed, message):
        tokens = chat.ask_for_tokens(typed)
        self.assertEqual(tokens, self.tokens_of(message))
        chat.type("/clear\r")
        chat.wait_for("forgotten")
        chat.wait_for_prompt()

    def test_what_is_typed_is_sent(self):
        for env in ({"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}):
            with self.subTest(env=env):
                chat = self.chat("-n", 1, model=MODEL, env=env)
                chat.wait_for_prompt()
                self.assert_sent(chat, "Grüße, 水車 и мельница", "Grüße, 水車 и мельница")
                self.assert_sent(chat, "ae\u0301水\x7f\x7f", "a")
                self.assert_sent(chat, "水車小屋\x1b[D\x1b[D\x7f", "水小屋")
                self.assert_sent(chat, "world\x01hello \x05!", "hello world!")
                self.assert_sent(chat, "one two three\x17\x17mill", "one mill")
                self.assert_sent(chat, "never said\x15mill", "mill")
                chat.type("\x04")
                self.assertEqual(chat.wait(), 0)

    def test_pasted_lines_are_one_message(self):
        chat = self.chat("-n", 1, model=MODEL)
        chat.wait_for("\x1b[?2004h")
        chat.wait_for_prompt()
        self.assert_sent(chat, PASTE.format("first line\rsecond line\nthird line"), "first line\nsecond line\nthird line")
        self.assert_sent(chat, "Say: " + PASTE.format("/usr/bin\nand more\n") + "end", "Say: /usr/bin\nand more\nend")
        self.assert_sent(chat, PASTE.format("/usr/bin\n/usr/lib"), "/usr/bin\n/usr/lib")
        self.assert_sent(chat, PASTE.format("水" * 500), "水" * 500)
        chat.type("/bye\r")
        self.assertEqual(chat.wait(), 0)
        self.assertTrue(chat.all.rstrip().endswith("\x1b[?2004l"), chat.all[-100:])

    def test_history(self):
        chat = self.chat("-n", 1, model=MODEL)
        chat.wait_for_prompt()
        self.assert_sent(chat, "the first", "the first")
        self.assert_sent(chat, "another", "another")
        self.assert_sent(chat, "draft" + "\x1b[A" * 4 + "!", "the first!")

    def test_commands(self):
        chat = self.chat("-n", 1, model=MODEL)
        chat.wait_for_prompt()
        for command, answer in {"/help": "/system", "/system": "no system message", "/system be brief": "begins anew",
                                "/system ": "told first: be brief", "/system none": "begins anew", "/nope": "/help lists the commands",
                                "/etc/passwd": "//etc/passwd is sent as a message",
                                "/bye the way": "//bye the way is sent as a message", "/clear up": "nothing may stand behind /clear"}.items():
            chat.type(command + "\r")
            chat.wait_for(answer)
            chat.wait_for_prompt()
        self.assert_sent(chat, "//nope", "/nope")
        self.assert_sent(chat, PASTE.format("/clear\nthe table"), "/clear\nthe table")
        chat.type("/quit\r")
        self.assertEqual(chat.wait(), 0)

    def test_ctrl_c_stops_an_answer_and_clears_a_line(self):
        chat = self.chat(model=MODEL)
        chat.wait_for_prompt()
        chat.type("Tell me a very long story.\r")
        chat.wait_for("story.\r")
        chat.wait_for(" ")  # the answer has begun
        chat.type("\x03")
        chat.wait_for("tokens in")
        chat.wait_for_prompt()
        chat.type("half a line")
        chat.wait_for("half a line")
        chat.type("\x03")
        chat.wait_for("\x1b[J> \r")
        chat.type("\x04")
        self.assertEqual(chat.wait(), 0)

    def test_resizing(self):
        chat = self.chat("-n", 1)
        chat.wait_for_prompt()
        chat.type("a word " * 20)
        for columns in list(range(20, 120, 2)) * 3:
            chat.resize(columns)
        chat.say("")
        chat.wait_for_prompt()
        chat = self.chat(model=MODEL)
        chat.wait_for_prompt()
        chat.type("Tell me a very long story.\r")
        chat.wait_for("story.\r")
        for columns in list(range(20, 120, 2)) * 3:
            chat.resize(columns)
            time.sleep(0.002)
        chat.type("\x03")
        chat.wait_for("tokens in")
        chat.type("\x04")
        self.assertEqual(chat.wait(), 0)

    def test_ctrl_z_and_back(self):
        chat = self.chat(model=MODEL, job=True)
        chat.wait_for_prompt()
        chat.type("half a line")
        chat.wait_for("half a line")
        chat.type("\x1a")
        chat.wait_for("\x1b[?2004l")
        chat.wait_for("STOPPED echo")
        chat.type("\n")
        chat.wait_for("\x1b[?2004h")
        chat.wait_for("> half a line")
        chat.type("\x15Tell me a very long story.\r")
        chat.wait_for("story.\r")
        chat.wait_for(" ")
        chat.type("\x1a")
        chat.wait_for("STOPPED echo")
        chat.type("\n")
        chat.wait_for(" ")
        chat.type("\x03")
        chat.wait_for("tokens in")
        chat.wait_for_prompt()
        pid = chat.process.pid
        os.kill(int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()), signal.SIGSTOP)
        chat.wait_for("STOPPED")
        chat.type("\n")
        chat.wait_for("> ")
        chat.type("\x04")
        self.assertEqual(chat.wait(), 0)

    def test_a_closed_terminal_ends_it(self):
        chat = self.chat()
        chat.wait_for_prompt()
        self.assertEqual(chat.close_terminal(), 0)
        chat = self.chat(model=MODEL)
        chat.wait_for_prompt()
        chat.type("Tell me a very long story.\r")
        chat.wait_for("story.\r")
        chat.wait_for(" ")
        self.assertEqual(chat.close_terminal(), 0)

    def test_told_to_end(self):
        for words in ("", "Tell me a very long story.\r"):
            with self.subTest(words=words):
                chat = self.chat(model=MODEL)
                chat.wait_for_prompt()
                chat.type(words)
                time.sleep(0.3)
                chat.process.terminate()
                self.assertEqual(chat.wait(), 0)
                self.assertTrue(chat.all.rstrip().endswith("\x1b[?2004l"), chat.all[-100:])
                self.assertEqual(termios.tcgetattr(chat.fd), chat.before)

    def test_a_resize_reaches_no_other_thread(self):
        chat = self.chat()
        chat.wait_for_prompt()
        threads = pathlib.Path(f"/proc/{chat.process.pid}/task")
        for thread in threads.iterdir():
            blocked = int(re.search(r"^SigBlk:\s*(\w+)", (thread / "status").read_text(), re.M)[1], 16)
            waits = int(thread.name) != chat.process.pid  # the others; the reader takes them while it waits
            for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT, signal.SIGHUP, signal.SIGINT):
                self.assertEqual(bool(blocked >> (number - 1) & 1), waits, (thread, number))

    def test_answers_break_between_words(self):
        chat = self.chat("-n", 60, model=MODEL)
        chat.resize(30)
        chat.wait_for_prompt()
        answer = chat.say("Tell me a story.").split("story.\r\r\n", 1)[-1]
        lines = [line for line in answer.split("\r\n") if "\x1b" not in line]
        self.assertGreater(len(lines), 3, answer)
        self.assertTrue(all(len(line) <= 30 for line in lines), lines)

    def test_a_full_context_says_what_to_do(self):
        chat = self.chat("--max-model-len", 32, model=MODEL)
        chat.wait_for_prompt()
        chat.type("Tell me a story.\r")
        chat.wait_for("[the context is full; /clear")
        chat.wait_for_prompt()
        chat.type("Go on.\r")
        chat.wait_for("the context is full; /clear")
        chat.wait_for_prompt()
        chat.type("/clear\r")
        chat.wait_for_prompt()
        chat.say("Hello")

    def test_timings_tell_of_drafts(self):
        chat = self.chat("--speculative-config", '{"method": "ngram"}', "--max-tokens", 60, model=MODEL)
        chat.wait_for_prompt()
        chat.say("Repeat this list four times, word for word: red, green, blue, white, black, brown.")
        chat.wait_for(" drafted tokens accepted]")
        counts = re.search(r"(\d+) tokens in [^,]+, (\d+) steps, (\d+) of \d+ drafted", chat.all)
        tokens, steps, accepted = map(int, counts.groups())
        self.assertEqual(tokens, steps + accepted)
        self.assertGreater(accepted, 0)


if __name__ == "__main__":
    program.main()
