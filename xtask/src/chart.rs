//! `cargo xtask chart`: renders the Helm chart and compares it with the files in `charts/qtap/ci`. In: the chart, and one values file per
//! case. Out: the differences, as a diff; or, with `--write`, new renderings. Kubernetes' own schemas check that the result is
//! valid. `--render` instead writes manifests for `kubectl apply`, from the user's own values.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::{setup, shell};

/// Default version of Kubernetes.
const KUBERNETES: &str = "1.31";

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
    #[arg(long, value_name = "X.Y", default_value = KUBERNETES, requires = "render")]
    kubernetes: String,
}

/// A values file, and the version it is rendered for.
struct Case {
    name: String,
    /// `1.31`: from the file's first line, `# Kubernetes 1.31: …`.
    kubernetes: String,
    /// Each overrides the one before it, and the chart's own.
    values: Vec<PathBuf>,
}

/// Compares, or writes.
pub(crate) fn run(options: &Options) -> Result<()> {
    let home = shell::workspace().join("charts/qtap");
    if let Some(to) = &options.to {
        return render_to(to, &home, options);
    }
    let cases = cases(&home)?;
    let mut faults = Vec::new();
    for case in &cases {
        let golden = golden(&home, case);
        let found = format!("{}{}", manifests(&home, case)?, notes(&home, case)?);
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
    faults.extend(refusals(&home)?);
    faults.extend(lint(&home)?);
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

/// Writes the manifests that Helm would apply, checked by the schemas too.
fn render_to(to: &Path, home: &Path, options: &Options) -> Result<()> {
    let (name, kubernetes) = ("qtap".to_owned(), options.kubernetes.clone());
    let case = Case { name, kubernetes, values: options.render.clone() };
    fs::write(to, manifests(home, &case)?).with_context(|| to.display().to_string())?;
    if let Some(said) = valid(&[(&case, to.to_owned())])? {
        bail!("{said}");
    }
    println!("chart: {} is written: kubectl apply -f {0}", to.display());
    Ok(())
}

fn golden(home: &Path, case: &Case) -> PathBuf {
    home.join("ci/golden").join(format!("{}.yaml", case.name))
}

/// The files of a folder with this suffix, sorted by name.
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

fn cases(home: &Path) -> Result<Vec<Case>> {
    files(&home.join("ci"), "-values.yaml")?.iter().map(|path| case(path)).collect()
}

fn case(path: &Path) -> Result<Case> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = read(path)?;
    let first = text.lines().next().unwrap_or_default();
    let kubernetes = first.strip_prefix("# Kubernetes ").and_then(|rest| rest.split(':').next());
    let kubernetes = kubernetes.with_context(|| format!("{file} does not begin with `# Kubernetes X.Y: …`"))?;
    let name = file.trim_end_matches(".yaml").trim_end_matches("-values").to_owned();
    Ok(Case { name, kubernetes: kubernetes.to_owned(), values: vec![path.to_owned()] })
}

/// Runs `helm` for the release `qtap` in the namespace `observability`, with the values of a case.
fn helm(words: &[&str], home: &Path, case: &Case) -> Result<Output> {
    let program = setup::helm::program()?;
    let mut command = Command::new(&program);
    command.args(words).arg("qtap").arg(home).args(["--namespace", "observability"]);
    for file in &case.values {
        command.arg("--values").arg(file);
    }
    command.output().with_context(|| {
        format!("{}: cargo xtask setup installs it on x86-64; elsewhere it is to be on the PATH", program.display())
    })
}

/// Its standard output, or an error with its standard error.
fn said(case: &Case, output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!("{}: {}", case.name, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn template(home: &Path, case: &Case) -> Result<Output> {
    helm(&["template", "--kube-version", &format!("v{}.0", case.kubernetes)], home, case)
}

/// The rendered manifests.
fn manifests(home: &Path, case: &Case) -> Result<String> {
    said(case, &template(home, case)?)
}

/// The installation notes, as a comment.
fn notes(home: &Path, case: &Case) -> Result<String> {
    let text = said(case, &helm(&["install", "--dry-run=client"], home, case)?)?;
    let (_, notes) = text.split_once("\nNOTES:\n").with_context(|| format!("{}: no notes", case.name))?;
    let lines = notes.trim_end().lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n");
    Ok(format!("# NOTES:\n{}", lines.collect::<String>()))
}

/// Helm's complaints about the chart itself.
fn lint(home: &Path) -> Result<Option<String>> {
    let mut command = Command::new(setup::helm::program()?);
    let output = shell::output_of(command.args(["lint", "--strict", "--quiet"]).arg(home))?;
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

/// The output of `diff`, when the two differ.
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

/// Values of the right form that make no sense: the templates refuse them, with the message in the file's second line.
fn refusals(home: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in files(&home.join("ci/refused"), "-values.yaml")? {
        let words = read(&path)?.lines().nth(1).unwrap_or_default().trim_start_matches("# ").to_owned();
        let output = template(home, &case(&path)?)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() || words.is_empty() || !said.contains(&words) {
            faults.push(format!("{}: not refused with `{words}`: {said}", path.display()));
        }
    }
    // Refused by the schema; `qtap-agent/tests/chart.rs` checks the messages.
    for path in files(&home.join("ci/bad"), ".yaml")? {
        let bad = Case { name: "bad".to_owned(), kubernetes: KUBERNETES.to_owned(), values: vec![path.clone()] };
        let output = template(home, &bad)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() || !said.contains("values don't meet the specifications of the schema") {
            faults.push(format!("{}: not refused by the chart's schema: {said}", path.display()));
        }
    }
    Ok(faults)
}

/// Errors of the renderings by Kubernetes' schemas.
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
    fn every_command_for_helm_in_the_pages_names_the_image() {
        let pages = ["docs/kubernetes.md", "examples/kubernetes/README.md"]
            .map(|page| fs::read_to_string(shell::workspace().join(page)).unwrap());
        let text = pages.concat().replace("\\\n", " ");
        let commands: Vec<_> =
            text.lines().filter(|line| line.starts_with("helm install") || line.starts_with("helm upgrade")).collect();
        assert!(commands.len() >= 5, "{commands:?}");
        for command in commands {
            assert!(command.contains("--values image.yaml"), "{command}");
        }
    }
}
