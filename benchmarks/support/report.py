# SPDX-License-Identifier: MIT
"""From what the benchmarks wrote: results.json, a table, a plot.

  report.py FOLDER

results.json is a list of {"name", "ns", "floor_ns", "ratio", "of"}: the time of one operation, of one of what it is compared
with, the median of the ratios of neighbouring batches, and what the ratio is to; "ratio_p10" and "ratio_p90" are the spread.
"""

import json
import pathlib
import platform
import sys


def processor() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def results(folder: pathlib.Path):
    for path in sorted(folder.glob("*.json")):
        if path.name == "results.json":
            continue
        for one in json.loads(path.read_text())["benchmarks"]:
            name = one["name"].split("/iterations:")[0]
            if one.get("error_occurred"):
                yield {"name": name, "error": one["error_message"]}
                continue
            yield {
                "name": name,
                "ns": round(one["ns"], 3),
                "floor_ns": round(one["of_ns"], 3),
                "ratio": round(one["ratio"], 4),
                "ratio_p10": round(one["ratio_p10"], 4),
                "ratio_p90": round(one["ratio_p90"], 4),
                "of": one["label"].removeprefix("of "),
            }


def table(rows) -> str:
    lines = [f"{processor()}, {platform.system()} {platform.release()}", ""]
    lines.append(f"{'':58}{'ns':>10}{'of ns':>10}{'ratio':>9}  {'p10 .. p90':16}of")
    for row in rows:
        if "error" in row:
            lines.append(f"{row['name']:58}  no figure: {row['error']}")
            continue
        spread = f"{row['ratio_p10']:.2f} .. {row['ratio_p90']:.2f}"
        lines.append(f"{row['name']:58}{row['ns']:10.2f}{row['floor_ns']:10.2f}{row['ratio']:9.2f}  {spread:16}{row['of']}")
    return "\n".join(lines) + "\n"


def plot(rows, path: pathlib.Path) -> None:
    try:
        import matplotlib
    except ImportError:
        print("bench: no plot (no python3-matplotlib)")
        return
    matplotlib.use("svg")
    from matplotlib import pyplot

    groups = {}
    for row in rows:
        if "error" not in row:
            groups.setdefault(row["of"], []).append(row)
    figure, all_axes = pyplot.subplots(len(groups), 1, figsize=(9, 0.9 * len(groups) + 0.28 * len(rows)), squeeze=False,
                                       height_ratios=[len(group) + 2 for group in groups.values()], layout="constrained")
    for axes, (of, group) in zip(all_axes[:, 0], groups.items()):
        names = [row["name"] for row in group]
        ratios = [row["ratio"] for row in group]
        low = [max(0, row["ratio"] - row["ratio_p10"]) for row in group]
        high = [max(0, row["ratio_p90"] - row["ratio"]) for row in group]
        bars = axes.barh(names, ratios, xerr=[low, high], height=0.6, color="#4477aa", ecolor="#999999")
        axes.bar_label(bars, labels=[f" {ratio:.2f} x" for ratio in ratios], fontsize=7)
        axes.axvline(1, color="#cc3311", linewidth=0.8)
        if max(ratios) / max(min(ratios), 1e-3) > 20:
            axes.set_xscale("log")
        axes.invert_yaxis()
        axes.tick_params(labelsize=7)
        axes.set_title(f"as a multiple of {of} ({group[0]['floor_ns']:.1f} ns); lower is better", fontsize=8, loc="left")
    figure.savefig(path)


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    rows = list(results(folder))
    (folder / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    text = table(rows)
    (folder / "results.txt").write_text(text)
    print(text, end="")
    plot(rows, folder / "results.svg")
    print(f"bench: {folder}/results.json, {folder}/results.txt, {folder}/results.svg")


main()
