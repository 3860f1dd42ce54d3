"""Each rule with a table that makes it fire, and one beside it that does not."""

import pytest
from ironbench.lint.read import read_tables
from ironbench.lint.rules import RULES, lint


@pytest.fixture
def found(tmp_path):
    """Return what lint finds in a CSV text, as {rule: [what]}."""

    def found(*texts):
        tables = []
        for number, text in enumerate(texts):
            path = tmp_path / f"{number}.csv"
            path.write_text(text)
            tables += read_tables(path)
        kinds = {}
        for flaw in lint(tables):
            kinds.setdefault(flaw.rule, []).append(flaw.what)
        return kinds

    return found


def rows(header, *lines):
    return "\n".join([header, *lines]) + "\n"


FIRES = {
    "percentile-above-max": [
        rows("name,mean ms,p99 ms,max ms", "a,50,70.1,60.0"),
        rows("name,mean_us,p99_us,max_ms", "a,50,61000,60.0"),
        rows("name,p99 ms,max ms", "a,60.2,60.0"),
    ],
    "not-monotonic": [
        rows("name,p50,p90,p99", "a,10.0,9.5,20"),
        rows("name,p90,p99.9,p99", "a,10,19.0,20.0"),
        rows("name,p90,p999,p99", "a,10,19.0,20.0"),
    ],
    "mean-above-max": [rows("name,mean,max", "a,10.4,10.1")],
    "stdev-zero": [rows("name,mean,stdev,max", "a,10.2,0.00,11.0")],
    "few-samples": [
        rows("name,p90,p99,requests", "a,10,20,999"),
        rows("name,p99,rate,duration", "a,20,30,30s"),
        rows("name,p99.9,count", "a,20,9999"),
        rows("name,p50,count", "a,20,19"),
    ],
    "averaged-percentile": [
        rows("run,p99", "1,7.26", "2,5.27", "3,6.50", "average,6.34"),
        rows("name,p90,p99", "a,12.13,17.26", "b,14.22,25.27", "mine,13.18,21.27"),
        rows("name,p99", "mine,21.265", "a,17.26", "b,25.27"),
    ],
    "points-as-percent": [
        rows("metric,a,b,delta", "CPU,57.55%,58.29%,+0.74%", "mean,1 ms,1 ms,0"),
        rows("metric,a,b,delta %", "cpu %,40,30,-10", "mean,1 ms,1 ms,0"),
        rows("metric,a,b,change", "CPU,40%,30%,-25% (-10%)", "mean,1 ms,1 ms,0"),
    ],
    "delta-does-not-follow": [
        rows("metric,a,b,delta", "mean,10.0 ms,12.0 ms,+25.0%"),
        rows("metric,a,b,c,delta (a to b)", "mean,10.0,12.0,15.0,+50.0%"),
        rows("metric,a,b,delta", "mean,10.0 ms,12.0 ms,+20.0% (+3.0 ms)"),
        rows("name,mean,mean delta %", "a,10.0,", "b,12.0,25.0"),
        rows("name,mean,p99", "a,10.0,20.0", "b,12.0,30.0", "delta %,20.0,40.0"),
    ],
    "few-runs": [
        rows("name,mean,runs", "a,10.0,5", "b,12.0,10"),
        rows("metric,a,b,delta", "mean,10.0,12.0,+20.0%"),
        rows("name,run,mean", *(f"{name},{run},1{run}.0" for name in "ab" for run in range(1, 4))),
    ],
    "one-of-several": [
        rows("name,run,mean,p99", "a,1,10.111,20.111", "a,2,11.222,21.222", "a,mean,11.222,21.222"),
    ],
    "unsaid-saturation": [rows("name,mean,target rps,achieved rps", "a,15800,600,125.7")],
}

DOES_NOT_FIRE = {
    "percentile-above-max": [
        rows("name,mean ms,p99 ms,max ms", "final,601.42,662.02,661.50"),  # the edge of a bucket
        rows("name,p99 ms,max ms", "a,60,59.6"),  # 60 is anything from 59.5
        rows("name,p99_us,max_ms", "a,59000,60.0"),
        rows("name,service p99,max", "a,70,60"),  # of something else
    ],
    "not-monotonic": [
        rows("name,p50,p90,p99", "a,10,10,20"),
        rows("name,p50,p90", "a,10,9.5"),  # 10 is anything from 9.5
        rows("name,p99,p99.9,p50", "a,10,19,5"),
        rows("name,p90 ms,p99 s", "a,950,1.10"),
    ],
    "mean-above-max": [rows("name,mean,max", "a,10.1,10.1"), rows("name,mean,max rps", "a,10.1,5")],
    "stdev-zero": [
        rows("name,mean,stdev,max", "a,10.2,0.01,11.0"),
        rows("name,mean,stdev,count", "a,10.2,0,1"),
    ],
    "few-samples": [
        rows("name,p90,p99,requests", "a,10,20,1000"),
        rows("name,p99,rate,duration", "a,20,40,30s"),
        rows("name,p99", "a,20"),
        rows("name,p90,count,requests recorded", "a,20,50,100"),  # the recorded ones count
    ],
    "averaged-percentile": [
        rows("run,p99", "1,7.26", "2,5.27", "3,6.50", "average,7.10"),
        rows("name,p99", "a,5.2", "b,5.4", "mine,5.3"),  # with so few digits that may well be chance
        rows("run,mean", "1,7.26", "2,5.27", "3,6.50", "average,6.34"),  # a mean of means is one
    ],
    "points-as-percent": [
        rows("metric,a,b,delta", "CPU,57.55%,58.29%,+1.29%", "mean,1 ms,1 ms,0"),
        rows("metric,a,b,delta", "CPU,57.55%,58.29%,+0.74 points", "mean,1 ms,1 ms,0"),
        rows("metric,a,b,delta", "mean,10.0 ms,12.0 ms,+20.0% (+2.0 ms)"),
        rows("metric,a,b,delta", "CPU,100%,110%,+10%", "mean,1 ms,1 ms,0"),  # both at once
    ],
    "delta-does-not-follow": [
        rows("metric,a,b,delta", "mean,10.0 ms,12.0 ms,+20.0%"),
        rows("metric,a,b,delta", "mean,10.0 ms,12.0 ms,1.2x"),
        rows("metric,a,b,improvement", "mean,10.0 ms,8.0 ms,20%"),
        rows("metric,a,b,c,delta (b vs a)", "mean,10.0,12.0,15.0,+20.0%"),
        rows("metric,a,b,delta", "mean,10 ms,12 ms,+15%"),  # rounded figures: 10.4 to 12.0
        rows("name,mean,mean delta %", "a,10.0,", "b,12.0,20.0"),
        rows("name,mean,p99", "a,10.0,20.0", "b,12.0,30.0", "delta %,20.0,50.0"),
        rows("name,mean,p99", "login,10.0,20.0", "change-password,12.0,30.0"),  # no delta at all
    ],
    "few-runs": [
        rows("name,mean,runs", "a,10.0,6", "b,12.0,10"),
        rows("name,mean,runs", "a,10.0,3"),  # nothing is compared
        rows("name,mean", "a,10.0", "b,12.0"),
        rows("name,run,mean", *(f"{name},{run},1{run}.0" for name in "ab" for run in range(1, 7))),
    ],
    "one-of-several": [
        rows("name,run,mean,p99", "a,1,10.111,20.111", "a,2,11.222,21.222", "a,mean,10.667,20.667"),
        rows("name,run,mean,p99", "a,1,10.111,20.111", "a,mean,10.111,20.111"),  # the only one
        rows("name,run,mean,p99", "a,1,10,20", "a,2,11,21", "a,mean,11,21"),  # with so few digits, chance
        rows(
            "name,run,mean,p99", "a,1,11.222,21.222", "a,2,11.222,21.222", "a,mean,11.222,21.222"
        ),  # they agree
        rows(
            "name,run,mean,p99,max",
            "a,1,9.11,20.11,30.111",
            "a,2,9.22,21.222,31.222",
            "b,mean,5.0,21.222,31.222",
        ),
    ],
    "unsaid-saturation": [
        rows("name,mean,target rps,achieved rps", "a,15800,600,599.9"),
        rows("name,mean,target rps,achieved rps,note", "a,15800,600,125.7,saturated"),
        rows(
            "name,mean,connections,duration,target rps,achieved rps", "a,15,4,30s,5,4.93"
        ),  # under way at the end
    ],
}


def test_every_rule_has_both_cases():
    names = {rule.name for rule in RULES}
    assert set(FIRES) == names
    assert set(DOES_NOT_FIRE) == names


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in FIRES.items() for text in texts])
def test_fires(found, rule, text):
    assert rule in found(text), found(text)


@pytest.mark.parametrize(
    ("rule", "text"), [(rule, text) for rule, texts in DOES_NOT_FIRE.items() for text in texts]
)
def test_does_not_fire(found, rule, text):
    assert rule not in found(text), found(text)


def test_runs_and_what_was_published_of_them_may_be_two_files(found):
    published = rows("metric,a,b", "mean,11.22 ms,5.0 ms", "p99,21.22 ms,6.0 ms")
    runs = rows("name,run,mean,p99", "a,1,10.111,20.111", "a,2,11.222,21.222")
    assert found(published, runs)["one-of-several"] == ["the figures of a are those of one run of 2, a 2"]
    assert "one-of-several" not in found(published)


def test_one_sentence_with_its_place(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("name,p99 ms,max ms\nfine,10,11\na,70.1 ms,60.0 ms\n")
    (flaw,) = lint(read_tables(path))
    assert (flaw.file, flaw.row, flaw.column, flaw.severity) == (str(path), 3, "p99 ms", "error")
    assert flaw.what == "P99 70.1 ms of a is above its max 60.0 ms"
