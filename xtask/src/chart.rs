//! `cargo xtask chart`: the Helm chart, rendered and held against what stands in `charts/qtap/ci`. In: the chart, and a values file a
//! case. Out: what differs, as a diff; or, with `--write`, the renderings written anew. Helm is not needed: `xtask/chart/render.go`
//! renders, and Kubernetes' own schemas say whether the result is one. With `--render` it is what `kubectl apply` takes, of somebody's own values.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::{setup, shell};

/// What `cargo xtask chart` is told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write the renderings anew, instead of comparing them.
    #[arg(long)]
    write: bool,
    /// Instead render the chart with the values of this file, for `kubectl apply -f`, where there is no Helm. Can be given again: the later holds.
    #[arg(long, value_name = "VALUES", conflicts_with = "write", requires = "to")]
    render: Vec<PathBuf>,
    /// Where the rendering goes.
    #[arg(long, value_name = "FILE", requires = "render")]
    to: Option<PathBuf>,
    /// The version of Kubernetes that it is for.
    #[arg(long, value_name = "X.Y", default_value = "1.31", requires = "render")]
    kubernetes: String,
}

/// A values file, and what the chart makes of it.
struct Case {
    name: String,
    /// `1.31`: from the file's first line, `# Kubernetes 1.31: …`.
    kubernetes: String,
    values: Value,
}

/// Compares, or writes.
pub(crate) fn run(options: &Options) -> Result<()> {
    let home = shell::workspace().join("charts/qtap");
    let renderer = Renderer::build(&home)?;
    if let Some(to) = &options.to {
        return render_to(to, &home, &renderer, options);
    }
    let cases = cases(&home)?;
    let mut faults = Vec::new();
    for case in &cases {
        let golden = golden(&home, case);
        let found = renderer.render(case)?;
        if options.write {
            fs::write(&golden, &found).with_context(|| golden.display().to_string())?;
        } else {
            faults.extend(difference(&golden, &found)?);
        }
    }
    let left = files(&home.join("ci/golden"), ".yaml")?
        .into_iter()
        .filter(|file| cases.iter().all(|case| golden(&home, case) != *file));
    faults.extend(left.map(|file| format!("{}: of no values file", file.display())));
    faults.extend(refusals(&home, &renderer)?);
    faults.extend(validate(&home, &cases)?);
    if !faults.is_empty() {
        bail!("{}\nIf the new renderings are right: cargo xtask chart --write", faults.join("\n"));
    }
    println!("chart: {} renderings, as they should be, and valid for Kubernetes", cases.len());
    Ok(())
}

/// Part of `cargo xtask check`.
pub(crate) fn check() -> Result<()> {
    run(&Options { write: false, render: Vec::new(), to: None, kubernetes: String::new() })
}

/// What Helm would give to Kubernetes, by its schemas too.
fn render_to(to: &Path, home: &Path, renderer: &Renderer, options: &Options) -> Result<()> {
    let files: Vec<&Path> = options.render.iter().map(PathBuf::as_path).collect();
    let case = Case { name: "qtap".to_owned(), kubernetes: options.kubernetes.clone(), values: values(home, &files)? };
    fs::write(to, renderer.render(&case)?).with_context(|| to.display().to_string())?;
    if let Some(said) = valid(&[(&case, to.to_owned())])? {
        bail!("{said}");
    }
    println!("chart: {} is written: kubectl apply -f {0}", to.display());
    Ok(())
}

/// The chart's own values, and those of files over them, one after the other.
fn values(home: &Path, files: &[&Path]) -> Result<Value> {
    let mut values = yaml(&home.join("values.yaml"))?;
    for file in files {
        merge(&mut values, &yaml(file)?);
    }
    Ok(values)
}

fn golden(home: &Path, case: &Case) -> PathBuf {
    home.join("ci/golden").join(format!("{}.yaml", case.name))
}

/// The files of a folder that end so, by name.
fn files(folder: &Path, end: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut found = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    found.retain(|path| path.to_string_lossy().ends_with(end));
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn yaml(path: &Path) -> Result<Value> {
    let value: Option<Value> = serde_yaml::from_str(&read(path)?).with_context(|| path.display().to_string())?;
    Ok(value.unwrap_or_else(|| Value::Object(Map::new())))
}

fn cases(home: &Path) -> Result<Vec<Case>> {
    files(&home.join("ci"), "-values.yaml")?.iter().map(|path| case(home, path)).collect()
}

fn case(home: &Path, path: &Path) -> Result<Case> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = read(path)?;
    let first = text.lines().next().unwrap_or_default();
    let kubernetes = first.strip_prefix("# Kubernetes ").and_then(|rest| rest.split(':').next());
    let kubernetes = kubernetes.with_context(|| format!("{file} does not begin with `# Kubernetes X.Y: …`"))?;
    let values = values(home, &[path])?;
    let name = file.trim_end_matches(".yaml").trim_end_matches("-values").to_owned();
    Ok(Case { name, kubernetes: kubernetes.to_owned(), values })
}

/// As Helm does: maps are joined, anything else takes the place of what was there, null takes it away.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// The program that renders, and what it is told each time.
struct Renderer {
    program: PathBuf,
    chart: Value,
    templates: Vec<Value>,
}

impl Renderer {
    fn build(home: &Path) -> Result<Renderer> {
        let go = setup::python_dir()?.join("bin/go");
        if !go.is_file() {
            bail!("no Go at {}: cargo xtask setup installs it", go.display());
        }
        let tools = shell::target_dir()?.join("qtap-tools");
        let program = tools.join("chart-render");
        let mut build = Command::new(go);
        build.current_dir(shell::workspace().join("xtask/chart")).env("GOCACHE", tools.join("go-build"));
        shell::run(build.args(["build", "-o"]).arg(&program).args(["render.go", "yaml.go"]))?;
        let facts = yaml(&home.join("Chart.yaml"))?;
        let chart = json!({"Name": facts["name"], "Version": facts["version"], "AppVersion": facts["appVersion"]});
        let mut templates = Vec::new();
        for path in files(&home.join("templates"), "")? {
            let name = format!("qtap/templates/{}", path.file_name().unwrap_or_default().to_string_lossy());
            templates.push(json!({"Name": name, "Text": read(&path)?}));
        }
        Ok(Renderer { program, chart, templates })
    }

    fn render(&self, case: &Case) -> Result<String> {
        let output = self.ask(case)?;
        if !output.status.success() {
            bail!("{}: {}", case.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn ask(&self, case: &Case) -> Result<Output> {
        let told = json!({
            "Chart": self.chart,
            "Release": {"Name": "qtap", "Namespace": "observability", "Service": "Helm"},
            "KubeVersion": format!("v{}.0", case.kubernetes),
            "Values": case.values,
            "Templates": self.templates,
        });
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("the renderer does not start")?;
        // It reads everything before it writes anything.
        child.stdin.take().context("no standard input")?.write_all(told.to_string().as_bytes())?;
        Ok(child.wait_with_output()?)
    }
}

/// What `diff` says, when the two are not the same.
fn difference(golden: &Path, found: &str) -> Result<Option<String>> {
    if fs::read_to_string(golden).is_ok_and(|expected| expected == found) {
        return Ok(None);
    }
    let mut command = Command::new("diff");
    command.args(["-u", "--new-file", "--label", "expected", "--label", "rendered"]).arg(golden).arg("-");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("diff")?;
    child.stdin.take().context("no standard input")?.write_all(found.as_bytes())?;
    let said = child.wait_with_output()?.stdout;
    Ok(Some(format!("{}:\n{}", golden.display(), String::from_utf8_lossy(&said))))
}

/// Values that are of the right form and make no sense: the templates refuse them, in the words of the file's second line.
fn refusals(home: &Path, renderer: &Renderer) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in files(&home.join("ci/refused"), "-values.yaml")? {
        let words = read(&path)?.lines().nth(1).unwrap_or_default().trim_start_matches("# ").to_owned();
        let output = renderer.ask(&case(home, &path)?)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() || words.is_empty() || !said.contains(&words) {
            faults.push(format!("{}: not refused with `{words}`: {said}", path.display()));
        }
    }
    Ok(faults)
}

/// What Kubernetes' schemas have against the renderings.
fn validate(home: &Path, cases: &[Case]) -> Result<Option<String>> {
    valid(&cases.iter().map(|case| (case, golden(home, case))).collect::<Vec<_>>())
}

fn valid(renderings: &[(&Case, PathBuf)]) -> Result<Option<String>> {
    let mut command = Command::new(setup::python_dir()?.join("bin/python"));
    command.arg(shell::workspace().join("xtask/chart/validate.py"));
    command.args(renderings.iter().map(|(case, file)| format!("{}={}", case.kubernetes, file.display())));
    let output = shell::output_of(&mut command)?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((!output.status.success()).then_some(said))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
mod tests {
    use super::*;

    #[test]
    fn later_values_hold_and_null_takes_away() {
        let mut values = json!({"image": {"repository": "a", "tag": "1"}, "list": [1, 2], "gone": {"deep": 1}});
        merge(&mut values, &json!({"image": {"tag": "2"}, "list": [3], "gone": null}));
        merge(&mut values, &json!({"image": {"digest": "d"}}));
        assert_eq!(values, json!({"image": {"repository": "a", "tag": "2", "digest": "d"}, "list": [3]}));
    }

    #[test]
    fn the_examples_values_are_put_over_the_charts() {
        let root = shell::workspace();
        let home = root.join("charts/qtap");
        let files = ["stdout", "service"].map(|name| root.join(format!("examples/kubernetes/{name}-values.yaml")));
        let both = values(&home, &[&files[0], &files[1]]).unwrap();
        let own = values(&home, &[]).unwrap();
        assert_eq!(both["dataDir"], own["dataDir"]);
        assert_ne!(both["config"], own["config"]);
    }
}
