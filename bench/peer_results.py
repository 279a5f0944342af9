"""What bench/peers.py measured, as tables and a plot. Results: {"machine", "date", "commit", "command", "engines", "models": [{"model",
"tests": {test: {engine: [tokens/s of each round]}}}]}."""

import pathlib
import platform
import re
import statistics

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
README_RESULTS = ROOT / "bench/results/peers.json"
BEGIN, END = "<!-- from bench/results/peers.json, by bench/peers.py --readme -->", "<!-- end -->"


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def ratio_text(ours, theirs):
    return f"{statistics.median(ours) / statistics.median(theirs):.2f}" if ours and theirs else ""


def speed_text(speeds, spread):
    if not speeds:
        return ""
    text = f"{statistics.median(speeds):.1f}"
    return f"{text} ({min(speeds):.1f} to {max(speeds):.1f})" if spread else text


def table_of(results, spread=True):
    """Medians, and how many times as fast the first engine is as each other."""
    own, *peers = results["engines"]
    head = ["model", "test", f"{own}, tokens/s"] + [f"{peer}, tokens/s" for peer in peers] + [f"to {peer}" for peer in peers]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for model in results["models"]:
        for test, speeds in model["tests"].items():
            row = [model["model"], test] + [speed_text(speeds.get(engine), spread) for engine in results["engines"]]
            row += [ratio_text(speeds.get(own), speeds.get(peer)) for peer in peers]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def heading_of(results):
    return (f"{results['machine']}, {results['date']}, commit {results['commit']}, medians of rounds in turns, in one run of "
            f"`{results['command']}`.\n")


def readme_with(text, results):
    """README.md with its table of speeds made anew."""
    made = f"{BEGIN}\n\n{heading_of(results)}\n{table_of(results, spread=False)}\n{END}"
    renewed, count = re.subn(re.escape(BEGIN) + r".*?" + re.escape(END), lambda _: made, text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"README.md has {count} places for the table of speeds")
    return renewed


def plot(results, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    own = results["engines"][0]
    figure, axes = pyplot.subplots(1, len(results["models"]), squeeze=False, figsize=(1.5 + 4.5 * len(results["models"]), 4))
    for axis, model in zip(axes[0], results["models"]):
        tests = list(model["tests"])
        for i, engine in enumerate(results["engines"]):
            heights = []
            for test in tests:
                speeds = model["tests"][test]
                heights.append(statistics.median(speeds[engine]) / statistics.median(speeds[own]) if engine in speeds else 0)
            width = 0.8 / len(results["engines"])
            axis.bar([x + i * width for x in range(len(tests))], heights, width, label=engine)
        axis.set_xticks([x + 0.4 - 0.4 / len(results["engines"]) for x in range(len(tests))], tests, rotation=30, ha="right")
        axis.set_title(model["model"], fontsize=9)
        axis.set_ylabel(f"tokens/s, {own} = 1")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncol=len(results["engines"]))
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(path)
