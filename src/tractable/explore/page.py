"""The explorer's page: one study, its parameters, the theory's curve, and a button that runs it."""

import marimo

app = marimo.App(width="medium", app_title="tractable")


@app.cell
def _():
    import os
    import time

    import marimo as mo

    from tractable import explore, report
    from tractable.plot import style
    from tractable.studies import find, index

    return explore, find, index, mo, os, report, style, time


@app.cell
def _(index, mo):
    # The link's words are read once: the page itself keeps the link up to date below.
    link = dict(mo.query_params().to_dict())
    entries = index()
    first = link.pop("study", None)
    own_file = first is not None and first.endswith(".py")  # a study in a file of one's own
    first = first if own_file or first in entries else "dynamics-rank-one"
    start_preset = link.pop("preset", None)
    start_seed = int(link.pop("seed", "0")) if link.get("seed", "0").isdigit() else 0
    study_choice = mo.ui.dropdown(
        options=[*([first] if own_file else []), *sorted(entries)],
        value=first,
        label="study",
        searchable=True,
    )
    return first, link, start_preset, start_seed, study_choice


@app.cell
def _(find, first, link, mo, start_preset, study_choice):
    cls = find(study_choice.value)
    own = dict(link) if study_choice.value == first else {}
    options = list(dict.fromkeys(["default", *cls.presets]))
    # A theory too slow to follow a slider has a preset of this name, on a coarser grid.
    usual = "explore" if "explore" in options else "default"
    chosen = start_preset if study_choice.value == first and start_preset in options else usual
    preset_choice = mo.ui.dropdown(options=options, value=chosen, label="preset")
    return cls, own, preset_choice, usual


@app.cell
def _(cls, mo, preset_choice, study_choice):
    paper = f" {cls.paper}" if cls.paper else ""
    mo.vstack(
        [
            mo.md("# tractable"),
            mo.hstack([study_choice, preset_choice], justify="start", gap=2),
            mo.md(f"**{cls.title()}**{paper}"),
        ]
    )
    return


@app.cell
def _(cls, explore, mo, own, preset_choice):
    # A link that no longer fits is said, not hidden; the page then starts at the preset.
    refused = ""
    try:
        start = explore.read_study(cls, own, preset_choice.value)
    except (TypeError, ValueError) as error:
        start, refused = cls.preset(preset_choice.value), f"The link was not used: {error}"

    def _element(control):
        label = control.name.replace("_", " ")
        if control.kind == "slider":
            return mo.ui.slider(
                steps=list(control.options), value=control.value, label=label, show_value=True
            )
        if control.kind == "choice":
            names = {str(option): option for option in control.options}
            return mo.ui.dropdown(options=names, value=str(control.value), label=label)
        if control.kind == "switch":
            return mo.ui.switch(value=control.value, label=label)
        return mo.ui.text(value=control.value, label=label)

    fields = explore.controls(start)
    elements = mo.ui.dictionary({control.name: _element(control) for control in fields})
    return elements, fields, refused


@app.cell
def _(cls, elements, explore, mo, preset_choice):
    try:
        study = explore.read_study(cls, elements.value, preset_choice.value)
    except (TypeError, ValueError) as error:
        mo.stop(True, mo.callout(f"{error}", kind="danger"))
    return (study,)


@app.cell
def _(mo, study, time):
    _begun = time.perf_counter()
    try:
        theory, why = study.theory(), ""
    except (TypeError, ValueError) as error:
        theory, why = None, str(error)
    theory_seconds = time.perf_counter() - _begun
    return theory, theory_seconds, why


@app.cell
def _(cls, explore, mo, study_choice, theory):
    # Named by the study alone, so that a slider does not set the choice back.
    names = tuple(explore.quantities(theory)) if theory is not None else ()
    return (names,)


@app.cell
def _(mo, names):
    quantity = mo.ui.dropdown(
        options=list(names), value=names[0] if names else None, label="quantity"
    )
    return (quantity,)


@app.cell
def _(
    elements,
    explore,
    fields,
    mo,
    quantity,
    refused,
    report,
    style,
    theory,
    theory_seconds,
    why,
):
    if theory is None:
        _picture = mo.callout(
            f"The theory of this study needs a measurement ({why}): run the simulation below.",
            kind="info",
        )
    elif quantity.value is None:
        _picture = mo.md("The theory of this study is numbers only.")
    else:
        with style():
            _figure = explore.draw(theory, quantity.value)
        _svg = report.markup(_figure, "theory", _figure.get_label())
        _picture = mo.Html(f'<div id="theory-curve">{_svg}</div>')
    _numbers = explore.scalars(theory) if theory is not None else {}
    _shown = ", ".join(
        f"{name.replace('_', ' ')} = {value:.6g}" for name, value in _numbers.items()
    )
    _rows = [
        mo.vstack([elements[control.name], mo.md(f"<small>{control.help}</small>")], gap=0)
        for control in fields
    ]
    _curve = mo.vstack(
        [
            quantity,
            _picture,
            mo.md(f"{_shown}  \n<small>theory computed in {theory_seconds:.2f} s</small>"),
        ]
    )
    mo.vstack(
        [
            *([mo.callout(refused, kind="warn")] if refused else []),
            mo.hstack([mo.vstack(_rows, gap=0.75), _curve], widths=[2, 3], gap=2, align="start"),
        ]
    )
    return


@app.cell
def _(mo, start_seed):
    seed = mo.ui.number(start=0, stop=10**6, step=1, value=start_seed, label="seed")
    button = mo.ui.run_button(label="run the simulation")
    return button, seed


@app.cell
def _(explore, mo, preset_choice, seed, study, study_choice, usual):
    # The address of the page reproduces its state.
    _words = {"study": study_choice.value}
    if preset_choice.value != usual:
        _words["preset"] = preset_choice.value
    if seed.value:
        _words["seed"] = str(seed.value)
    _words |= explore.link_words(study, preset_choice.value)
    _address = mo.query_params()
    for _name in set(_address.to_dict()) - set(_words):
        _address.remove(_name)
    for _name, _text in _words.items():
        if _address.get(_name) != _text:
            _address.set(_name, _text)
    command = explore.command(study, int(seed.value))
    return (command,)


@app.cell
def _(button, command, explore, mo, seed):
    mo.vstack(
        [
            mo.md("The same from a terminal:"),
            mo.iframe(explore.copyable(command), height="3.6rem"),
            mo.hstack([seed, button], justify="start", gap=2),
        ]
    )
    return


@app.cell
def _(button, explore, mo, os, report, seed, study):
    mo.stop(not button.value)
    with mo.status.spinner(title=f"{study.name()} runs", remove_on_exit=True) as _spinner:
        _out = os.environ.get("TRACTABLE_EXPLORE_OUT", "runs")
        try:
            result = explore.simulate(
                study,
                seed=int(seed.value),
                out=_out,
                tell=lambda text: _spinner.update(subtitle=text),
            )
        except RuntimeError as _error:
            mo.stop(True, mo.callout(f"{_error}", kind="danger"))
    _page = result.folder / "report.html"
    if not _page.exists():
        report.write(result)
    mo.vstack(
        [
            mo.md(f"**{result.summary()}**, `{result.folder}`"),
            mo.iframe(_page.read_text(encoding="utf-8"), height="1200px"),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
