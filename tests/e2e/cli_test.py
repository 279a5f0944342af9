"""The commands as a person types them: output, exit codes, one clear line for what is wrong."""

import json
import math
import os
import signal
import struct
import subprocess
import tempfile
import time
import unittest

import program
from program import MODEL, run


class BadInput(unittest.TestCase):
    def assert_refused(self, done, *words):
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_files_that_are_no_models(self):
        def text(value):
            return struct.pack("<Q", len(value)) + value.encode()

        def gguf(**entries):
            head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries))
            for key, value in entries.items():
                is_text = isinstance(value, str)
                head += text(key.replace("_", ".")) + struct.pack("<I", 8 if is_text else 4)
                head += text(value) if is_text else struct.pack("<I", value)
            return head

        kinds = {
            "part 2 of 3 of a model": gguf(split_no=1, split_count=3),
            "is an adapter": gguf(general_architecture="llama", general_type="adapter"),
            "is an importance matrix": gguf(general_type="imatrix"),
            "projector": gguf(general_architecture="clip", general_type="mmproj"),
            "no weights": gguf(general_architecture="llama"),
            "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            "a web page": b"<!DOCTYPE html>\n<html>",
            "PyTorch": b"PK\x03\x04" + bytes(30),
            "a safetensors file": struct.pack("<Q", 2) + b'{"a":1}   ',
            "gzip": b"\x1f\x8b\x08" + bytes(30),
        }
        with tempfile.TemporaryDirectory() as folder:
            for words, content in kinds.items():
                path = os.path.join(folder, "model.gguf")
                with open(path, "wb") as file:
                    file.write(content)
                for command in (("run", "x"), ("serve",), ("eval", "--text", path)):
                    self.assert_refused(run(command[0], path, *command[1:]), words)
                done = run("inspect", path)
                self.assertIn(words, done.stdout + done.stderr)

    def test_models_that_would_answer_wrongly(self):
        folder = program.need(program.SHARED / "models/awkward")
        for name, words in (
            ("half-the-layers", "block_count"),
            ("nan-weight", "not numbers"),
        ):
            for command in (("run", "x"), ("serve",), ("eval", "--text", __file__)):
                done = run(command[0], folder / f"{name}.gguf", *command[1:])
                self.assert_refused(done, words)

    def test_missing_file(self):
        for command in ("inspect", "tokenize", "detokenize", "render", "run", "serve", "bench", "eval"):
            with self.subTest(command=command):
                more = {"eval": ["--text", "/nowhere"], "render": ["/nowhere"]}.get(command, [])
                self.assert_refused(run(command, "/nowhere/x.gguf", *more), "/nowhere/x.gguf")

    def test_not_a_model(self):
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            for content in (b"", b"GGUF", b"hello, I am a text\n" * 100, b"GGUF\x03\0\0\0" + b"\xff" * 64):
                file.seek(0)
                file.truncate()
                file.write(content)
                file.flush()
                for command in ("inspect", "run"):
                    with self.subTest(content=content[:12], command=command):
                        self.assert_refused(run(command, file.name))

    def test_unknown_command_and_value(self):
        self.assert_refused(run("bench", "x.gguf", "--kv-cache-dtype", "f8"))
        self.assert_refused(run("serve", "x.gguf", "--max-model-len", "4q"), "4q")
        self.assert_refused(run("run", "x.gguf", "--block-size", "0"), "within 1 to")
        self.assert_refused(run("fly"))


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.need_model()

    def test_help_lists_commands(self):
        text = run("--help").stdout
        for command in ("bench", "detokenize", "eval", "inspect", "render", "run", "serve", "tokenize"):
            self.assertRegex(text, rf"\n +{command} ")
            self.assertIn(f"millrace {command} ", run(command, "--help").stdout)

    def test_inspect(self):
        text = run("inspect", MODEL).stdout
        for word in ("llama", "Q4_1", "general.architecture", "token_embd.weight", "of the same vocabulary (gpt2, 49,152 tokens), without states"):
            self.assertIn(word, text)

    def test_tokenize(self):
        done = run("tokenize", MODEL, input="Hello world")
        self.assertEqual(json.loads(done.stdout), [19556, 905])
        lines = run("tokenize", MODEL, "--jsonl", input='"Hello world"\n"Hello"\n').stdout.splitlines()
        self.assertEqual([json.loads(line) for line in lines], [[19556, 905], [19556]])
        self.assertEqual(run("tokenize", MODEL, "--count", input="Hello world").stdout.strip(), "2")

    def test_detokenize(self):
        self.assertEqual(run("detokenize", MODEL, 19556, 905).stdout, "Hello world")
        lists = run("tokenize", MODEL, "--jsonl", input='"Hello\\n"\n"<|im_end|>"\n').stdout
        self.assertEqual(run("detokenize", MODEL, "--jsonl", input=lists).stdout, '"Hello\\n"\n"<|im_end|>"\n')
        self.assertEqual(run("detokenize", MODEL, "--no-special", 19556, 2).stdout, "Hello")

    def test_bench_json(self):
        done = run("bench", MODEL, "--pp", 32, "--tg", 8, "--batch", "1,2", "--repeat", 1, "--json")
        results = json.loads(done.stdout)["results"]
        self.assertTrue(any(r["test"] == "pp32" for r in results))
        self.assertTrue(all(r["tokens_per_s"] > 0 for r in results))

    def test_bench_contended(self):
        contended = ["bench", MODEL, "--pp", 0, "--tg", 8, "--batch", 1, "--repeat", 1, "--contended"]
        done = json.loads(run(*contended, "--json").stdout)
        self.assertEqual([r["test"] for r in done["results"][:2]], ["tg8", "tg8 busy"])
        quiet, busy = (r["tokens_per_s"] for r in done["results"][:2])
        self.assertAlmostEqual(done["contended_ratio"], busy / quiet, delta=0.01)
        self.assertIn("on busy CPUs generation keeps", run(*contended).stdout)
        refused = run("bench", MODEL, "--tg", 0, "--contended")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("--contended measures generation", refused.stderr)

    def test_eval_of_a_short_text(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("The mill turns because the water runs, and the water runs because it rains. " * 40)
            file.flush()
            result = json.loads(run("eval", MODEL, "--text", file.name, "--context", 128, "--chunks", 2,
                                    "--json").stdout)
        self.assertEqual(result["chunks"], 2)
        self.assertGreater(result["tokens"], 0)
        self.assertTrue(1 < result["perplexity"] < 30, result)

    def test_eval_logits(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/ids.json", "w") as file:
                json.dump([504, 3575, 282, 4649, 314], file)
            done = run("eval", MODEL, "--tokens", f"{folder}/ids.json", "--logits", f"{folder}/out.bin")
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(f"{folder}/out.bin", "rb") as file:
                data = file.read()
        logits = struct.unpack(f"{len(data) // 4}f", data)
        self.assertEqual(len(logits), 5 * 49152)
        last = logits[4 * 49152:]
        self.assertEqual(max(range(49152), key=last.__getitem__), 7042)  # " Paris"
        self.assertTrue(all(map(math.isfinite, logits)))

    def test_render(self):
        hello = json.dumps([{"role": "user", "content": "Hi <|im_end|>"}])
        done = run("render", MODEL, "-", input=hello)
        self.assertTrue(done.stdout.endswith("<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n"), done)
        ids = json.loads(run("render", MODEL, "-", "--tokens", input=hello).stdout)
        self.assertEqual(ids.count(2), 2)  # of the system's and the user's turn
        done = run("render", MODEL, "-", "--chat-template", "llama2", input=hello)
        self.assertEqual((done.returncode, done.stdout), (0, "[INST] Hi <|im_end|> [/INST]"))
        with tempfile.NamedTemporaryFile("w", suffix=".jinja") as file:
            file.write("{{ strftime_now('%d %b') }}\n{{ raise_exception('no') if messages|length > 1 }}")
            file.flush()
            done = run("render", file.name, "-", "--date", "2026-11-22T12:34:56", input=hello)
            self.assertEqual((done.returncode, done.stdout), (0, "22 Nov\n"))
            done = run("render", file.name, "-", input=json.dumps(json.loads(hello) * 2))
            self.assertEqual(done.returncode, 2)
            self.assertIn(":2:4: the template refuses: no\n", done.stderr)
            self.assertEqual(done.stdout, "")

    def test_render_reads_the_template_of_a_folder(self):
        words = {"<s>": 0, "</s>": 1, "Hi": 2}
        files = {"tokenizer.json": {"model": {"type": "WordLevel", "vocab": words}, "pre_tokenizer": {"type": "Whitespace"},
                                    "added_tokens": [{"id": i, "content": word, "special": True} for word, i in words.items() if i < 2]},
                 "tokenizer_config.json": {"bos_token": "<s>", "eos_token": {"content": "</s>"},
                                           "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"}}
        hello = json.dumps([{"role": "user", "content": "Hi </s>"}])
        with tempfile.TemporaryDirectory() as folder:
            for name, value in files.items():
                with open(f"{folder}/{name}", "w") as file:
                    json.dump(value, file)
            self.assertEqual(run("render", folder, "-", input=hello).stdout, "<s>Hi </s></s>")
            self.assertEqual(run("render", folder, "-", "--tokens", input=hello).stdout, "[0, 2, 1]\n")
            with open(f"{folder}/chat_template.jinja", "w") as file:
                file.write("{{ messages[0].role }}")
            self.assertEqual(run("render", f"{folder}/tokenizer.json", "-", input=hello).stdout, "user")

    def test_config_file_sets_the_same_names(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write("threads = 1\n[bench]\npp = 16\ntg = 0\nrepeat = 1\n[serve]\nport = 1\n")
            file.flush()
            done = run("bench", MODEL, "--config", file.name, "--json")
            self.assertEqual([r["test"] for r in json.loads(done.stdout)["results"]], ["pp16"])
            done = run("bench", MODEL, "--config", file.name, "--json", "--pp", 8)
            self.assertEqual([r["test"] for r in json.loads(done.stdout)["results"]], ["pp8"])
            file.write("[bench]\nppp = 16\n")
            file.flush()
            self.assertEqual(run("bench", MODEL, "--config", file.name).returncode, 2)


class Run(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.need_model()

    def test_answers_a_prompt(self):
        done = run("run", MODEL, "Name the capital of France.", "--temperature", 0, "--max-tokens", 20)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Paris", done.stdout)
        self.assertEqual(done.stderr, "")

    def test_raw_continues(self):
        done = run("run", MODEL, "The capital of France is", "--raw", "--temperature", 0, "--max-tokens", 2)
        self.assertEqual(done.stdout, " Paris.\n")

    def test_a_pipe_is_a_chat(self):
        done = run("run", MODEL, "--temperature", 0, "--max-tokens", 20,
                   input="My name is Ada.\nWhat is my name?\n/clear\n/exit\nnever said\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Ada", done.stdout)

    def test_piped_text_stands_behind_the_prompt(self):
        def given(prompt, **options):
            done = run("run", MODEL, prompt, "--raw", "--temperature", 0, "-n", 3, **options)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout
        text = "The capital of Germany is Berlin.\nThe capital of France is"
        self.assertEqual(given("Facts:", input=text), given(f"Facts:\n\n{text}", input=""))
        self.assertNotEqual(given("Facts:", input=text), given("Facts:", stdin=subprocess.DEVNULL))
        self.assertEqual(given("-", input=text), given(text, stdin=subprocess.DEVNULL))

    def test_an_empty_prompt_is_none(self):
        for arguments in (("",), ("-",), ("--raw",), ("--raw", "")):
            done = run("run", MODEL, *arguments, "-n", 3, input="")
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertIn("empty", done.stderr)

    def test_lengths_of_answers(self):
        done = run("run", MODEL, "Tell me a story.", "--temperature", 0, "-n", -1, "--max-model-len", 64)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(len(done.stdout.split()), 10)
        for length in ("0", "-2", "-n", "1.5", ""):
            done = run("run", MODEL, "Hi", "-n", length)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("-1 for the rest of the context", done.stderr)

    def test_commands_in_a_pipe(self):
        done = run("run", MODEL, "-n", 3, input="/etc/hosts\n")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("unknown command /etc/hosts; a message that begins with / is written //etc/hosts", done.stderr)
        done = run("run", MODEL, "-n", 3, input="/clear the table\n")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("nothing may stand behind /clear", done.stderr)
        done = run("run", MODEL, "-n", 3, input="/system be brief\n//etc/hosts\n/bye\nnever said\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_full_context_says_so(self):
        done = run("run", MODEL, "Hi", "--max-model-len", 8)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--max-model-len", done.stderr)


class FullDisk(unittest.TestCase):
    """What cannot be written is never a success."""

    @classmethod
    def setUpClass(cls):
        program.need_model()
        if not os.path.exists("/dev/full"):
            raise unittest.SkipTest("there is no /dev/full")

    def commands(self, folder):
        text, messages = f"{folder}/text", f"{folder}/messages"
        with open(text, "w") as file:
            file.write("The mill turns because the water runs. " * 40)
        with open(messages, "w") as file:
            json.dump([{"role": "user", "content": "Hi"}], file)
        return [["--help"], ["--version"], ["help"], ["help", "run"], ["version"], ["run", "--help"], ["serve", "--help"],
                ["run", MODEL, "Hi", "-n", 2], ["run", MODEL, "Hi", "-n", 2, "--raw"], ["run", MODEL], ["inspect", MODEL],
                ["inspect", MODEL, "--json"], ["tokenize", MODEL], ["tokenize", MODEL, "--count"], ["detokenize", MODEL, 19556],
                ["render", MODEL, messages], ["render", MODEL, messages, "--tokens"],
                ["eval", MODEL, "--text", text, "--context", 64, "--chunks", 1],
                ["eval", MODEL, "--text", text, "--context", 64, "--chunks", 1, "--json"],
                ["bench", MODEL, "--pp", 1, "--tg", 0, "--repeat", 1], ["bench", MODEL, "--pp", 1, "--tg", 0, "--repeat", 1, "--json"]]

    def write_to(self, arguments, open_output, **options):
        with tempfile.TemporaryFile("w+") as words, open_output() as output:
            words.write("Hi\n")
            words.seek(0)
            return subprocess.run([program.BINARY, *map(str, arguments)], stdin=words, stdout=output, stderr=subprocess.PIPE,
                                  text=True, check=False, timeout=600, **options)

    def test_every_command(self):
        with tempfile.TemporaryDirectory() as folder:
            for arguments in self.commands(folder):
                with self.subTest(arguments=arguments):
                    done = self.write_to(arguments, lambda: open("/dev/full", "w"))
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                    self.assertIn("written", done.stderr)
                    if arguments[0] != "inspect":
                        self.assertIn("No space left on device", done.stderr)

    def test_run_stops_at_once(self):
        begin = time.monotonic()
        done = self.write_to(["run", MODEL, "Tell me a very long story.", "--raw"], lambda: open("/dev/full", "w"))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertLess(time.monotonic() - begin, 20)

    def test_closed_output(self):
        for arguments in (["--version"], ["tokenize", MODEL], ["run", MODEL, "Hi", "-n", 1]):
            with self.subTest(arguments=arguments):
                done = self.write_to(arguments, lambda: open("/dev/null", "w"), preexec_fn=lambda: os.close(1))
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_a_reader_that_leaves(self):
        for restore in (True, False):
            with self.subTest(restore=restore):
                with subprocess.Popen([program.BINARY, "run", MODEL, "Once upon a time", "--raw", "--temperature", "0"],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      restore_signals=restore) as process:
                    os.read(process.stdout.fileno(), 1)
                    process.stdout.close()
                    self.assertEqual((process.stderr.read(), process.wait(60)), (b"", -signal.SIGPIPE))

    def test_messages_that_cannot_be_written(self):
        for name in ("/dev/full", "closed"):
            with self.subTest(name=name), open("/dev/full" if name != "closed" else "/dev/null", "w") as errors:
                done = subprocess.run([program.BINARY, "run", "/nowhere", "Hi"], stdin=subprocess.DEVNULL, stderr=errors, check=False,
                                      preexec_fn=(lambda: os.close(2)) if name == "closed" else None)
                self.assertEqual(done.returncode, 2)


class Usage(unittest.TestCase):
    COMMANDS = ("bench", "detokenize", "eval", "inspect", "render", "run", "serve", "tokenize")

    def test_nothing_lists_the_commands(self):
        done = run()
        self.assertEqual(done.returncode, 2)
        for command in self.COMMANDS:
            self.assertRegex(done.stdout, rf"\n +{command} ")

    def test_help_and_version(self):
        for own in ((), ("help",), ("version",)):
            done = run("help", *own)
            self.assertEqual((done.returncode, done.stdout), (0, run("--help").stdout))
        self.assertRegex(run("version").stdout, r"^millrace \d+\.\d+\.\d+\n$")
        for command in self.COMMANDS:
            done = run("help", command)
            self.assertEqual((done.returncode, done.stdout), (0, run(command, "--help").stdout))
        done = run("help", "fly")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("unknown command fly", done.stderr)

    def test_options_before_the_command(self):
        for arguments, words in {("--model", "x.gguf", "serve"): "--model must come behind the command: millrace serve --model x.gguf",
                                 ("-t", "2", "run", "x.gguf"): "-t must come behind the command: millrace run -t 2 x.gguf",
                                 ("--model=x.gguf",): "`millrace help` lists the commands"}.items():
            with self.subTest(arguments=arguments):
                done = run(*arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(words, done.stderr)

    def test_an_option_given_twice(self):
        done = run("run", "x.gguf", "-n", 3, "--max-tokens", 5)
        self.assertEqual((done.returncode, done.stderr), (2, "millrace: --max-tokens is given more than once\n"))

    def test_a_missing_or_misplaced_model(self):
        for command in ("run", "serve", "bench", "eval", "inspect", "tokenize", "detokenize"):
            done = run(command)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("model is required", done.stderr)
            self.assertIn(f"millrace help {command}", done.stderr)
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            self.assertIn(f"the model comes before the prompt: millrace run {file.name} \"Hi\"", run("run", "Hi", file.name).stderr)
            self.assertIn(f"`millrace run {file.name}`", run(file.name).stderr)


if __name__ == "__main__":
    program.main()
