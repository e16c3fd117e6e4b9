//! Packages and the edges between them, compared with the layer table.

use super::Problem;
use super::tables::{Allowed, Crate, TESTS};
use super::workspace::{Dependency, Package};

/// Compares what the manifests say with `table`, both ways.
pub(super) fn check(packages: &[Package], table: &[Crate]) -> Vec<Problem> {
    let mut problems = stale_rows(packages, table);
    for package in packages {
        problems.extend(nothing_depends_on_tests(package));
        problems.extend(manifest(package));
        match table.iter().find(|row| row.name == package.name) {
            Some(row) => problems.extend(against_row(package, row)),
            None => problems.push(Problem::new(
                manifest_path(package),
                format!("{} is not in the layer table: add a row to `CRATES`", package.name),
            )),
        }
    }
    problems
}

/// Rows of packages that no longer exist.
fn stale_rows(packages: &[Package], table: &[Crate]) -> Vec<Problem> {
    let gone = |row: &&Crate| !packages.iter().any(|package| package.name == row.name);
    table
        .iter()
        .filter(gone)
        .map(|row| Problem::new(row.folder, format!("no package {}: delete its row", row.name)))
        .collect()
}

/// The folder and the edges of one package. Edges of tests and examples are free: no user of the
/// crate ever sees them.
fn against_row(package: &Package, row: &Crate) -> Vec<Problem> {
    let mut problems = Vec::new();
    if package.folder != row.folder {
        let what = format!("{} lies in {}, expected {}", row.name, package.folder, row.folder);
        problems.push(Problem::new(manifest_path(package), what));
    }
    for dependency in package.dependencies.iter().filter(|dependency| !dependency.dev) {
        if !allows(row, dependency) {
            let what = format!("{} may not depend on {}", row.name, dependency.name);
            problems.push(Problem::new(manifest_path(package), what));
        }
    }
    problems
}

fn allows(row: &Crate, dependency: &Dependency) -> bool {
    match if dependency.ours { &row.ours } else { &row.external } {
        Allowed::Only(names) => names.contains(&dependency.name.as_str()),
        Allowed::Anything => true,
    }
}

fn nothing_depends_on_tests(package: &Package) -> Vec<Problem> {
    let on_tests = package.dependencies.iter().filter(|dependency| dependency.name == TESTS);
    on_tests
        .map(|_| Problem::new(manifest_path(package), format!("nothing may depend on {TESTS}")))
        .collect()
}

/// What each manifest must have and must not have.
fn manifest(package: &Package) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !package.has_lints {
        let what = "no [lints] table: without it the workspace's lints do not apply here";
        problems.push(Problem::new(manifest_path(package), what));
    }
    for feature in &package.features {
        let what = format!("cargo feature {feature:?}: what is built must not depend on features");
        problems.push(Problem::new(manifest_path(package), what));
    }
    problems
}

fn manifest_path(package: &Package) -> String {
    format!("{}/Cargo.toml", package.folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Crate] = &[
        Crate {
            name: "low",
            folder: "crates/low",
            ours: Allowed::Only(&[]),
            external: Allowed::Only(&["half"]),
        },
        Crate {
            name: "high",
            folder: "crates/high",
            ours: Allowed::Only(&["low"]),
            external: Allowed::Anything,
        },
    ];

    fn dependency(name: &str, ours: bool) -> Dependency {
        Dependency { name: name.into(), ours, dev: false }
    }

    fn low() -> Package {
        Package {
            name: "low".into(),
            folder: "crates/low".into(),
            dependencies: vec![dependency("half", false)],
            has_lints: true,
            ..Package::default()
        }
    }

    fn high() -> Package {
        let dependencies = vec![dependency("low", true), dependency("anyhow", false)];
        Package { name: "high".into(), folder: "crates/high".into(), dependencies, ..low() }
    }

    /// The messages about the two packages after `spoil` has had its way with them.
    fn problems(spoil: impl Fn(&mut Package, &mut Package)) -> Vec<String> {
        let (mut low, mut high) = (low(), high());
        spoil(&mut low, &mut high);
        check(&[low, high], TABLE).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn edges_within_the_table_pass() {
        assert_eq!(problems(|_, _| ()), [""; 0]);
    }

    #[test]
    fn an_edge_upwards_is_found() {
        let found = problems(|low, _| low.dependencies.push(dependency("high", true)));
        assert_eq!(found, ["crates/low/Cargo.toml: low may not depend on high"]);
    }

    #[test]
    fn a_package_from_the_registry_that_the_row_does_not_list_is_found() {
        let found = problems(|low, _| low.dependencies.push(dependency("anyhow", false)));
        assert_eq!(found, ["crates/low/Cargo.toml: low may not depend on anyhow"]);
    }

    #[test]
    fn tests_of_a_crate_may_use_what_they_like_save_the_tests_package() {
        let dev = |name: &str| Dependency { dev: true, ..dependency(name, true) };
        assert_eq!(problems(|low, _| low.dependencies.push(dev("high"))), [""; 0]);
        let found = problems(|low, _| low.dependencies.push(dev(TESTS)));
        assert_eq!(found, ["crates/low/Cargo.toml: nothing may depend on tintype-tests"]);
    }

    #[test]
    fn table_and_workspace_list_the_same_packages() {
        let found = problems(|low, _| low.name = "new".into());
        assert_eq!(
            found,
            [
                "crates/low: no package low: delete its row",
                "crates/low/Cargo.toml: new is not in the layer table: add a row to `CRATES`",
            ]
        );
    }

    #[test]
    fn a_package_in_another_folder_is_found() {
        let found = problems(|low, _| low.folder = "low".into());
        assert_eq!(found, ["low/Cargo.toml: low lies in low, expected crates/low"]);
    }

    #[test]
    fn a_manifest_without_lints_or_with_features_is_found() {
        let found = problems(|low, _| low.has_lints = false);
        assert!(found[0].contains("no [lints] table"), "{found:?}");
        let found = problems(|low, _| low.features.push("cuda".into()));
        assert!(found[0].contains("cargo feature \"cuda\""), "{found:?}");
    }
}
