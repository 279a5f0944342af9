"""Vocabularies trained by the `tokenizers` and `sentencepiece` packages: the same ids and the same text as those give.

The packages go into a virtual environment beside the binary. Vocabularies are trained here, strings are made here, both
from a seed that is printed and that TOKENIZERS_SEED sets.
"""

import base64
import io
import json
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import unittest

import packages
import program

packages.run_with(pathlib.Path(program.BINARY).parent, "tokenizers", "sentencepiece")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

Seq = normalizers.Sequence
STRINGS = 400  # for each vocabulary
SPACE = "\u2581"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
OWN = r"\p{Lu}?\p{Ll}+|\d+|[^\w\s]{1,3}"
WORDS = """the of and river mill race water wheel turns stone grain flour bread morning light don't we've it's I'll HELLO World
naïve café façade Straße ÆON İstanbul ΣΊΣΥΦΟΣ привет мир 你好 世界 水车 東京タワー カタカナ 한국어 한글 العربية עברית हिन्दी ภาษาไทย tiếng Việt 12 345
6789 1234567 3.14 1,000,000 x=y+1; print("a") {key: 'value'} foo_bar fooBar http://a.b/c?d=e&f #tag @you ½ Ⅷ ² ﬁ ﬂ Å Å ﷺ ㎏ ① ™ 🙂 👩‍👩‍👧 🇫🇷 👍🏽 𝒜𝓑 …
e\u0301 o\u0302\u0323 \u1100\u1161\u11a8""".split()
GLUE = [" ", " ", " ", " ", "", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u200b", "\u200d", "\u2028", "\x85", "\ufeff", SPACE, ". ",
        ", ", "! ", "? ", "'", "\"", "``", "''", "-", "--", "<", ">", "[", "]", "/", "\\", "\u0301", "\u0323", "\ufffd", "\x00", "\x07", "\x7f"]


def corpus(rng):
    return [" ".join(rng.choices(WORDS, k=rng.randint(3, 20))) for _ in range(600)]


def any_character(rng):
    """Assigned since long, so that the tables of both sides have it."""
    low, high = rng.choice([(0, 0x7F), (0x80, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x45F), (0x5D0, 0x5EA),
                            (0x621, 0x64A), (0x905, 0x939), (0xE01, 0xE30), (0x1E00, 0x1EF9), (0x2000, 0x2027), (0x2030, 0x205E),
                            (0x2190, 0x21FF), (0x2460, 0x24FF), (0x3041, 0x3096), (0x30A1, 0x30FA), (0x4E00, 0x4FFF), (0xAC00, 0xAFFF),
                            (0xF900, 0xF9FF), (0xFB00, 0xFB06), (0xFF01, 0xFF5E), (0x1F600, 0x1F64F), (0x20000, 0x200FF)])
    while True:
        character = chr(rng.randint(low, high))
        if character not in "\u0378\u0379\u0380\u0381\u0382\u0383\u038b\u038d\u03a2":
            return character


def strings(rng, added):
    made = ["", " ", "  ", "\n", SPACE, "a", " a", "a ", "  a  b  ", "\u0301", "a\u0301", "\x00", "x" * 300, " " * 50, "\u0301" * 60, "👩‍" * 30]
    while len(made) < STRINGS:
        parts = []
        for _ in range(rng.randint(1, 12)):
            kind = rng.random()
            if kind < 0.6:
                parts.append(rng.choice(WORDS))
            elif kind < 0.7 and added:
                parts.append(rng.choice(added))
            elif kind < 0.8:
                parts.append("".join(any_character(rng) for _ in range(rng.randint(1, 6))))
            parts.append(rng.choice(GLUE))
        made.append("".join(parts))
    return made


def trained(model, trainer, lines, normalizer=None, pre=None, decoder=None, post=None, added=()):
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    tokenizer.train_from_iterator(lines, trainer)
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.add_tokens(list(added))
    if post is not None:
        tokenizer.post_processor = post(tokenizer)
    return tokenizer


def edited(tokenizer, change):
    """The package does not offer everything that its files can say."""
    parsed = json.loads(tokenizer.to_str())
    change(parsed)
    return Tokenizer.from_str(json.dumps(parsed))


def template(before, after):
    def make(tokenizer):
        names = before + after
        return processors.TemplateProcessing(single=" ".join(before + ["$A"] + after),
                                             special_tokens=[(name, tokenizer.token_to_id(name)) for name in names])
    return make


def byte_level(lines):
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|end|>", "<|start|>"]

    def train(pre, normalizer=None, decoder=None, post=None, added=(), **model):
        trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, special_tokens=special, show_progress=False)
        return trained(models.BPE(**model), trainer, lines, normalizer, pre, decoder or decoders.ByteLevel(), post, added)

    level = pre_tokenizers.ByteLevel
    split = pre_tokenizers.Split
    sequence = pre_tokenizers.Sequence
    added = [AddedToken("  ", normalized=False), AddedToken("mill", normalized=True), AddedToken("<tool>", lstrip=True, rstrip=True),
             AddedToken("wheel", single_word=True), AddedToken("<sp>", special=True, rstrip=True), AddedToken("water", single_word=True, normalized=False)]
    yield "gpt2", train(level(add_prefix_space=False))
    yield "gpt2 with a space", train(level(add_prefix_space=True), added=added, post=template(["<|start|>"], []))
    yield "llama3", train(sequence([split(Regex(LLAMA3), "isolated"), level(add_prefix_space=False, use_regex=False)]), ignore_merges=True,
                          post=lambda t: processors.Sequence([processors.ByteLevel(trim_offsets=False), template(["<|start|>"], [])(t)]))
    yield "nfc, digits", train(sequence([pre_tokenizers.Digits(individual_digits=True), level(add_prefix_space=False)]), normalizers.NFC(), added=added)
    yield "digits together", train(sequence([pre_tokenizers.Digits(individual_digits=False), level(add_prefix_space=True)]), normalizers.Lowercase(),
                                   added=added)
    yield "byte-level normaliser", train(split(Regex(r"\s+"), "isolated"), normalizers.Sequence([normalizers.NFC(), normalizers.ByteLevel()]), added=added)
    yield "bytes, suffix", edited(train(level(add_prefix_space=False), end_of_word_suffix="</w>", unk_token="<|end|>"), lambda parsed: None)
    for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
        for invert in [False, True]:
            pre = sequence([split(Regex(OWN), behavior, invert), level(add_prefix_space=False, use_regex=False)])
            yield f"{behavior}, {invert}", train(pre)
    yield "string split", train(sequence([split("e", "merged_with_next"), split("..", "removed"), level(add_prefix_space=False, use_regex=False)]))


def characters(lines):
    def train(pre, normalizer=None, decoder=None, size=700, special=("<unk>", "<s>", "</s>"), post=None, added=(), change=None, **model):
        special = list(special) + ([f"<0x{byte:02X}>" for byte in range(256)] if model.get("byte_fallback") else [])
        trainer = trainers.BpeTrainer(vocab_size=size + len(special), special_tokens=special, show_progress=False, limit_alphabet=120,
                                      continuing_subword_prefix=model.get("continuing_subword_prefix", None) or "",
                                      end_of_word_suffix=model.get("end_of_word_suffix", None) or "")
        tokenizer = trained(models.BPE(unk_token="<unk>", **model), trainer, lines, normalizer, pre, decoder, post, added)

        def plain_bytes(parsed):  # as published files have them: pieces of the model, no added tokens
            parsed["added_tokens"] = [token for token in parsed["added_tokens"] if not token["content"].startswith("<0x")]
            if change:
                change(parsed)
        return edited(tokenizer, plain_bytes)

    metaspace = pre_tokenizers.Metaspace
    llama = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    added = [AddedToken("<tool>", normalized=True), AddedToken("river", normalized=True, single_word=True), AddedToken("<x>", lstrip=True, normalized=False)]
    for scheme in ["always", "first", "never"]:
        for cut in [True, False]:
            yield f"metaspace {scheme} {cut}", train(metaspace(prepend_scheme=scheme, split=cut), decoder=llama, fuse_unk=True, byte_fallback=True,
                                                     added=added, post=template(["<s>"], ["</s>"]))
    llama2 = Seq([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    yield "llama2", train(None, llama2, llama, fuse_unk=True, byte_fallback=True, post=template(["<s>"], []), added=added)
    yield "gemma", train(pre_tokenizers.Split(" ", "merged_with_previous"), normalizers.Replace(" ", SPACE),
                         decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]), fuse_unk=True, byte_fallback=True)
    for fuse in [True, False]:
        yield f"unknown, {fuse}", train(metaspace(), decoder=decoders.Metaspace(), fuse_unk=fuse)
    yield "suffix", train(pre_tokenizers.Whitespace(), normalizers.Lowercase(), decoders.BPEDecoder(suffix="</w>"), end_of_word_suffix="</w>")
    yield "prefix", train(pre_tokenizers.WhitespaceSplit(), normalizers.NFKC(), decoders.WordPiece(prefix="##", cleanup=False),
                          continuing_subword_prefix="##")
    yield "no decoder", train(pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("contiguous")]),
                              Seq([normalizers.NFKD(), normalizers.StripAccents()]))


def pieces(lines):
    def train(pre, normalizer=None, decoder=None, added=(), post=None, change=None):
        trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False)
        tokenizer = trained(models.Unigram(), trainer, lines, normalizer, pre, decoder or decoders.Metaspace(), post, added)
        return edited(tokenizer, change) if change else tokenizer

    def with_bytes(parsed):
        parsed["model"]["byte_fallback"] = True
        parsed["model"]["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
        parsed["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, parsed["decoder"]]}

    added = ["<extra_0>", AddedToken("stone", normalized=True), AddedToken("<m>", lstrip=True, normalized=False)]
    metaspace = pre_tokenizers.Metaspace
    yield "t5", train(metaspace(), Seq([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]), added=added,
                      post=template([], ["</s>"]))
    yield "xlm", train(pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace()]), normalizers.NFKC(), added=added)
    yield "albert", train(metaspace(), Seq([normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(),
                                            normalizers.StripAccents(), normalizers.Lowercase()]))
    yield "unigram bytes", train(metaspace(prepend_scheme="first"), normalizers.Strip(), change=with_bytes, added=added)
    yield "one word", train(metaspace(split=False), normalizers.Prepend("!"))
    yield "bytes as text", train(pre_tokenizers.ByteLevel(), normalizers.NFD(), decoders.ByteLevel())


def words(lines):
    def train(normalizer, pre, decoder=None, added=(), post=None):
        trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False)
        return trained(models.WordPiece(unk_token="[UNK]"), trainer, lines, normalizer, pre, decoder or decoders.WordPiece(), post, added)

    bert = normalizers.BertNormalizer
    split = pre_tokenizers.BertPreTokenizer
    yield "bert", train(bert(), split(), post=template(["[CLS]"], ["[SEP]"]), added=[AddedToken("[T]", special=True, lstrip=True)])
    yield "bert cased", train(bert(lowercase=False), split(), post=lambda t: processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")),
                                                                                                       ("[CLS]", t.token_to_id("[CLS]"))))
    yield "bert bare", train(bert(clean_text=False, handle_chinese_chars=False, strip_accents=True), split(), decoders.WordPiece(cleanup=False),
                             post=lambda t: processors.RobertaProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]"))))
    yield "words at commas", train(normalizers.Strip(left=False), pre_tokenizers.CharDelimiterSplit(","))
    lines = [line.replace(",", " ") for line in lines]
    yield "word level", trained(models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(vocab_size=200, special_tokens=["[UNK]"], show_progress=False),
                                lines, normalizers.Lowercase(), pre_tokenizers.Whitespace())


def fields(message):
    """{number: last value} of a protocol buffer's message."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            found[tag >> 3] = varint()
        else:
            size = {1: 8, 2: None, 5: 4}[tag & 7]
            size = varint() if size is None else size
            found[tag >> 3] = message[at:at + size]
            at += size
    return found


def gguf(path, values):
    """A file without tensors."""
    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def packed(value):
        if isinstance(value, bool):
            return 7, struct.pack("<?", value)
        if isinstance(value, int):
            return 4, struct.pack("<I", value)
        if isinstance(value, float):
            return 6, struct.pack("<f", value)
        if isinstance(value, str):
            return 8, text(value)
        if isinstance(value, bytes):
            return 9, struct.pack("<IQ", 0, len(value)) + value
        parts = [packed(element) for element in value]
        return 9, struct.pack("<IQ", parts[0][0], len(parts)) + b"".join(part for _, part in parts)
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(values)))
        for key, value in values.items():
            kind, data = packed(value)
            file.write(text(key) + struct.pack("<I", kind) + data)


def sentencepieces(lines, **options):
    """(processor, precompiled map) of a unigram model."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, vocab_size=420 if options.get("byte_fallback") else 260,
                                             hard_vocab_limit=False, minloglevel=2, **options)
    normaliser = fields(fields(model.getvalue())[3])
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()), normaliser.get(2, b"")


class TokenizerJson(unittest.TestCase):
    def setUp(self):
        self.seed = int(os.environ.get("TOKENIZERS_SEED", random.randrange(1 << 32)))
        print(f"TOKENIZERS_SEED={self.seed}", flush=True)
        self.rng = random.Random(self.seed)

    def ask(self, command, path, lines, *options):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        done = subprocess.run([program.BINARY, command, path, "--jsonl", *options], input=text, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, f"{path}: {done.stderr}")
        return [json.loads(line) for line in done.stdout.split("\n")[:-1]]

    def compare(self, name, tokenizer, folder):
        path = os.path.join(folder, "tokenizer.json")
        tokenizer.save(path)
        added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        texts = strings(self.rng, added)
        expected = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        for text, ids, right in zip(texts, self.ask("tokenize", path, texts), expected, strict=True):
            self.assertEqual(ids, right, f"{name}: {text!r}")
        bare = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        self.assertEqual(self.ask("tokenize", folder, texts, "--no-add-bos"), bare, name)
        for skip in [False, True]:
            options = ["--no-special"] if skip else []
            decoded = [tokenizer.decode(ids, skip_special_tokens=skip) for ids in bare]
            for ids, text, right in zip(bare, self.ask("detokenize", path, bare, *options), decoded, strict=True):
                self.assertEqual(text, right, f"{name}: {ids}")

    def compare_all(self, make):
        lines = corpus(self.rng)
        count = 0
        with tempfile.TemporaryDirectory() as folder:
            for name, tokenizer in make(lines):
                with self.subTest(name):
                    self.compare(name, tokenizer, folder)
                count += 1
        print(f"{count} vocabularies, {STRINGS} strings each", flush=True)

    def test_byte_level_bpe(self):
        self.compare_all(byte_level)

    def test_bpe_of_characters(self):
        self.compare_all(characters)

    def test_unigram(self):
        self.compare_all(pieces)

    def test_sentencepiece_in_gguf(self):
        lines = corpus(self.rng)
        for options in [{}, {"byte_fallback": True}, {"normalization_rule_name": "nfkc_cf", "remove_extra_whitespaces": False},
                        {"normalization_rule_name": "identity", "add_dummy_prefix": False}]:
            processor, charsmap = sentencepieces(lines, **options)
            ids = range(processor.get_piece_size())
            kinds = [2 if processor.is_unknown(i) else 3 if processor.is_control(i) else 6 if processor.is_byte(i) else 1 for i in ids]
            values = {"general.architecture": "t5", "tokenizer.ggml.model": "t5", "tokenizer.ggml.tokens": [processor.id_to_piece(i) for i in ids],
                      "tokenizer.ggml.scores": [processor.get_score(i) for i in ids], "tokenizer.ggml.token_type": kinds,
                      "tokenizer.ggml.unknown_token_id": processor.unk_id(), "tokenizer.ggml.add_space_prefix": options.get("add_dummy_prefix", True),
                      "tokenizer.ggml.remove_extra_whitespaces": options.get("remove_extra_whitespaces", True)}
            if charsmap:
                values["tokenizer.ggml.precompiled_charsmap"] = charsmap
            # A NUL ends the text for SentencePiece's own map.
            texts = [text.replace("\0", "") for text in strings(self.rng, [])]
            with tempfile.TemporaryDirectory() as folder, self.subTest(options):
                path = os.path.join(folder, "t5.gguf")
                gguf(path, values)
                found = self.ask("tokenize", path, texts, "--no-special")
                for text, ids, right in zip(texts, found, processor.encode(texts), strict=True):
                    self.assertEqual(ids, right, f"{options}: {text!r}")

    def test_sentencepiece_in_json(self):
        lines = corpus(self.rng)
        processor, charsmap = sentencepieces(lines)
        pieces = [[processor.id_to_piece(i), processor.get_score(i)] for i in range(processor.get_piece_size())]
        metaspace = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
        parsed = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "post_processor": None,
                  "normalizer": {"type": "Sequence", "normalizers": [
                      {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()},
                      {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": SPACE}]},
                  "pre_tokenizer": metaspace, "decoder": metaspace,
                  "model": {"type": "Unigram", "unk_id": processor.unk_id(), "vocab": pieces, "byte_fallback": False}}
        with tempfile.TemporaryDirectory() as folder:
            self.compare("sentencepiece", Tokenizer.from_str(json.dumps(parsed)), folder)

    def test_word_pieces_and_words(self):
        self.compare_all(words)


if __name__ == "__main__":
    program.main()
