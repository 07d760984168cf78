# SPDX-License-Identifier: MIT
"""From what the benchmarks wrote: results.json, a table, plots.

  report.py FOLDER

results.json is a list of {"name", "ns", "floor_ns", "ratio", "of"}: the time of one operation, of one of what it is compared
with, the median of the ratios of neighbouring batches, and what the ratio is to; "ratio_p10" and "ratio_p90" are the spread;
"bytes", where something is written, what an operation leaves in a file; "unit", where "ns" and "floor_ns" hold something else than
nanoseconds. A name is "topic/what". What has no figure is not in
results.json but in the table, with the reason; FOLDER/left_out.txt has what was not run, a line each.
"""

import datetime
import json
import os
import pathlib
import platform
import sys

PLOTS = {  # which topics, by how they begin, are in which plot
    "recording": ("hot path", "stopped", "policies", "live reader", "shared library", "recorders"),
    "files": ("encoding", "drain", "size", "reading", "analysing"),
    "hosts": ("v8", "node", "kj", "worker"),
}
COLOURS = {"thence": "#4477aa", "rival": "#ee8866", "floor": "#bbbbbb"}


def machine() -> str:
    processor = platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.split(":", 1)[1].strip()
            break
    return f"{processor}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, {datetime.date.today()}"


def read(folder: pathlib.Path):
    """The rows that have a figure, and what has none: (name, reason)."""
    rows, without = [], []
    for path in sorted(folder.glob("*.json")):
        if path.name == "results.json":
            continue
        for one in json.loads(path.read_text())["benchmarks"]:
            name = one["name"].split("/iterations:")[0]
            if one.get("error_occurred"):
                without.append((name, one["error_message"]))
                continue
            row = {
                "name": name,
                "ns": round(one["ns"], 3),
                "floor_ns": round(one["of_ns"], 3),
                "ratio": round(one["ratio"], 4),
                "ratio_p10": round(one["ratio_p10"], 4),
                "ratio_p90": round(one["ratio_p90"], 4),
                "of": one["label"].removeprefix("of "),
            }
            if "unit" in one:
                row["unit"] = one["unit"]
            if "bytes" in one:
                row["bytes"] = round(one["bytes"], 2)
            rows.append(row)
    return rows, without


def plot_of(name: str) -> str:
    return next((plot for plot, topics in PLOTS.items() if name.startswith(topics)), "hosts")


def place_of(name: str):
    """Where a topic stands: in the order of PLOTS, then by name."""
    order = [topic for topics in PLOTS.values() for topic in topics]
    topic = name.split("/")[0]
    return next((at for at, begin in enumerate(order) if topic.startswith(begin)), len(order)), topic


def kind_of(row) -> str:
    what = row["name"].split("/", 1)[-1]
    return "rival" if "(rival)" in what else "floor" if "floor" in what else "thence"


def groups_of(rows):
    """Rows by topic and by what they are compared with, the dearest first."""
    groups = {}
    for row in rows:
        groups.setdefault((place_of(row["name"]), row["of"]), []).append(row)
    for (place, of), group in sorted(groups.items(), key=lambda item: (item[0][0], -max(row["ratio"] for row in item[1]))):
        yield place[1], of, sorted(group, key=lambda row: -row["ratio"])


def time_text(ns: float) -> str:
    for unit, size in (("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.2f} {unit}"
    return f"{ns:.2f} ns"


def amount_text(row, key: str) -> str:
    return f"{row[key]:,.0f} {row['unit']}" if "unit" in row else time_text(row[key])


def ratio_text(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 100 else f"{ratio:.0f}"


def title(topic: str, of: str, group) -> str:
    floors = sorted(group, key=lambda row: row["floor_ns"])
    span = amount_text(floors[0], "floor_ns")
    if floors[-1]["floor_ns"] > 1.1 * floors[0]["floor_ns"]:
        span += f" to {amount_text(floors[-1], 'floor_ns')}"
    return f"{topic}: multiples of {of} ({span})"


def table(rows, without, left_out) -> str:
    lines = [machine(), "Processor time; medians of paired ratios (10th .. 90th percentile); in each group the dearest first."]
    for topic, of, group in groups_of(rows):
        lines += ["", title(topic, of, group)]
        for row in group:
            spread = f"{ratio_text(row['ratio_p10'])} .. {ratio_text(row['ratio_p90'])}"
            size = f"{row['bytes']:6.1f} B" if "bytes" in row else ""
            what = row["name"].split("/", 1)[-1]
            lines.append(f"  {what:51}{amount_text(row, 'ns'):>11}{ratio_text(row['ratio']):>8} x  {spread:16}{size}".rstrip())
    if without or left_out:
        lines += ["", "Not measured:"]
        lines += [f"  {name}: {reason}" for name, reason in without]
        lines += [f"  {entry}" for entry in left_out]
    return "\n".join(lines) + "\n"


def plot(rows, path: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullFormatter

    groups = list(groups_of(rows))
    row_height, gap = 0.19, 0.52  # inches; the gap holds a title and a scale
    heights = [row_height * len(group) for _, _, group in groups]
    height = sum(heights) + gap * len(groups) + 0.45
    figure = pyplot.figure(figsize=(9.6, height))
    low = min([1, *(row["ratio_p10"] for row in rows)])
    high = max([1, *(row["ratio_p90"] for row in rows)])
    limits = (0.8 * max(low, 1e-3), high * (high / low) ** 0.25)  # room for the figures at the bars' ends
    top = height - 0.4
    for (topic, of, group), own in zip(groups, heights):
        top -= 0.22 + own
        axes = figure.add_axes((0.36, top / height, 0.62, own / height))
        top -= gap - 0.22
        axes.set_xscale("log")
        axes.set_xlim(*limits)
        for at, row in enumerate(group):
            ratio = max(row["ratio"], limits[0])
            axes.barh(at, ratio - 1, left=1, height=0.62, color=COLOURS[kind_of(row)])
            spread = [max(row["ratio_p10"], limits[0]), max(row["ratio_p90"], limits[0])]
            axes.plot(spread, [at, at], color="#333333", linewidth=0.7)
            figures = f"{ratio_text(row['ratio'])} x, {amount_text(row, 'ns')}"
            axes.text(1.04 * max(ratio, spread[1], 1), at, figures, fontsize=6.5, va="center")
        axes.set_ylim(len(group) - 0.4, -0.6)
        axes.set_yticks(range(len(group)), [row["name"].split("/", 1)[-1] for row in group], fontsize=7)
        axes.axvline(1, color="#333333", linewidth=0.8)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="x", labelsize=6, length=2, pad=1)
        axes.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        heading = title(topic, of, group)
        axes.text(-0.561, 1 + 0.04 / own, heading, transform=axes.transAxes, fontsize=8, weight="bold", va="bottom")
    legend = f"{machine()}. Lower is better; the lines are the 10th to 90th percentile."
    figure.text(0.012, 1 - 0.16 / height, legend, fontsize=7, va="center")
    for at, kind in enumerate(kind for kind in COLOURS if any(kind_of(row) == kind for row in rows)):
        figure.text(0.80 + 0.07 * at, 1 - 0.16 / height, kind, fontsize=7, va="center", backgroundcolor=COLOURS[kind])
    figure.savefig(path)
    pyplot.close(figure)


def main(folder: pathlib.Path) -> None:
    rows, without = read(folder)
    listed = folder / "left_out.txt"
    left_out = listed.read_text().splitlines() if listed.exists() else []
    (folder / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    written = ["results.json", "results.txt"]
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        left_out.append("the plots (python3-matplotlib)")
    else:
        for name in PLOTS:
            own = [row for row in rows if plot_of(row["name"]) == name]
            (folder / f"{name}.svg").unlink(missing_ok=True)
            if own:
                plot(own, folder / f"{name}.svg")
                written.append(f"{name}.svg")
    text = table(rows, without, left_out)
    (folder / "results.txt").write_text(text)
    print(text, end="")
    print(f"bench: {', '.join(str(folder / name) for name in written)}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
