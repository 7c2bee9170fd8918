//! Which file imports which: reads the sources of a crate and follows every path to the file that
//! defines what it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, Item, UseTree, Visibility};

/// The sources of a crate by their path below `src`.
pub(super) type Sources = BTreeMap<PathBuf, String>;

/// A module as the segments of its path; the crate itself has none.
type Module = Vec<String>;

/// What a file takes from where.
pub(super) struct Imports {
    modules: BTreeMap<Module, File>,
}

struct File {
    path: PathBuf,
    /// Names that the file re-exports, with the path that each stands for.
    exports: BTreeMap<String, Module>,
    /// Paths that the file's code names.
    named: Vec<Module>,
}

impl Imports {
    /// Parses all sources. Unit tests are left out.
    pub(super) fn read(sources: &Sources) -> Self {
        let modules = sources
            .iter()
            .map(|(path, text)| {
                let module = module_of(path);
                let syntax = syn::parse_file(text)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let mut found = Found::new(module.clone());
                syntax.items.iter().for_each(|item| found.visit_item(item));
                (module, found.into_file(path))
            })
            .collect();
        Self { modules }
    }

    /// Every pair of a file and a file that it imports from.
    pub(super) fn edges(&self) -> BTreeSet<(PathBuf, PathBuf)> {
        let mut edges = BTreeSet::new();
        for file in self.modules.values() {
            for named in &file.named {
                if let Some(target) = self.file_of(named, 0)
                    && target != file.path
                {
                    edges.insert((file.path.clone(), target));
                }
            }
        }
        edges
    }

    /// The file that defines what an absolute path names; `None` for a path out of the crate.
    fn file_of(&self, path: &[String], depth: usize) -> Option<PathBuf> {
        assert!(depth < 20, "a re-export of itself: {path:?}");
        let mut module: Module = Vec::new();
        let mut rest = path;
        while let [first, tail @ ..] = rest {
            let mut child = module.clone();
            child.push(first.clone());
            if self.modules.contains_key(&child) {
                (module, rest) = (child, tail);
                continue;
            }
            let file = self.modules.get(&module)?;
            if let Some(exported) = file.exports.get(first) {
                let whole: Module = exported.iter().chain(tail).cloned().collect();
                if whole == path {
                    // A macro, which its own file re-exports.
                    return Some(file.path.clone());
                }
                return self.file_of(&whole, depth + 1);
            }
            break;
        }
        self.modules.get(&module).map(|file| file.path.clone())
    }
}

/// `sync/feeds/due.rs` is `sync::feeds::due`, `sync/mod.rs` is `sync`, `lib.rs` is the crate.
fn module_of(path: &Path) -> Module {
    let mut module: Module = path
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

/// What one file names.
struct Found {
    module: Module,
    exports: BTreeMap<String, Module>,
    named: Vec<Module>,
    /// The first names of paths without a root. A re-export of the same file may have brought them.
    bare: BTreeSet<String>,
}

impl Found {
    fn new(module: Module) -> Self {
        Self { module, exports: BTreeMap::new(), named: Vec::new(), bare: BTreeSet::new() }
    }

    fn into_file(self, path: &Path) -> File {
        let used = self.exports.iter().filter(|(name, _)| self.bare.contains(*name));
        let through_own_exports: Vec<Module> = used.map(|(_, target)| target.clone()).collect();
        let named = self.named.into_iter().chain(through_own_exports).collect();
        File { path: path.to_owned(), exports: self.exports, named }
    }

    /// A path in the code. A lone `super` or `crate` is a visibility.
    fn add_path_in_code(&mut self, path: &[String]) {
        match (self.absolute(path), path) {
            (Some(whole), [_, _, ..]) => self.named.push(whole),
            (None, [first, ..]) => {
                self.bare.insert(first.clone());
            }
            _ => {}
        }
    }

    /// The absolute path of one that begins with `crate`, `super` or `self`. `None` for others.
    fn absolute(&self, segments: &[String]) -> Option<Module> {
        let mut base = self.module.clone();
        let mut rest = segments;
        match segments.first()?.as_str() {
            "crate" => (base, rest) = (Vec::new(), &segments[1..]),
            "self" => rest = &segments[1..],
            "super" => {}
            _ => return None,
        }
        while let [first, tail @ ..] = rest
            && first == "super"
        {
            base.pop();
            rest = tail;
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    fn add_use(&mut self, tree: &UseTree, prefix: &[String], exported: bool) {
        let with = |name: &syn::Ident| {
            let mut path = prefix.to_vec();
            path.push(name.to_string());
            path
        };
        match tree {
            UseTree::Path(path) => self.add_use(&path.tree, &with(&path.ident), exported),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_use(tree, prefix, exported));
            }
            UseTree::Name(name) if name.ident == "self" => {
                self.add_path(prefix.to_vec(), None, exported);
            }
            UseTree::Name(name) => {
                self.add_path(with(&name.ident), Some(name.ident.to_string()), exported);
            }
            UseTree::Rename(rename) => {
                self.add_path(with(&rename.ident), Some(rename.rename.to_string()), exported);
            }
            UseTree::Glob(_) => self.add_path(prefix.to_vec(), None, exported),
        }
    }

    /// A path without a root may begin with a child module, as in `pub use due::DueRow`.
    fn add_path(&mut self, path: Vec<String>, name: Option<String>, exported: bool) {
        let rooted = self.absolute(&path);
        if let (true, Some(name)) = (exported, name) {
            let child = || self.module.iter().chain(&path).cloned().collect();
            let target = rooted.unwrap_or_else(child);
            self.exports.insert(name, target);
        } else {
            let child = || self.module.iter().chain(&path).cloned().collect();
            self.named.push(rooted.unwrap_or_else(child));
        }
    }

    /// Paths inside the body of a macro, which is no syntax tree.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let end = |path: &mut Vec<String>, found: &mut Self| {
            found.add_path_in_code(path);
            path.clear();
        };
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        end(&mut path, self);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    end(&mut path, self);
                    colons = 0;
                    self.add_tokens(group.stream());
                }
                _ => {
                    end(&mut path, self);
                    colons = 0;
                }
            }
        }
        end(&mut path, self);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
    })
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => {}
            Item::Use(used) if is_for_tests(&used.attrs) => {}
            Item::Use(used) => {
                let exported = !matches!(used.vis, Visibility::Inherited);
                self.add_use(&used.tree, &[], exported);
            }
            item => syn::visit::visit_item(self, item),
        }
    }

    /// `pub(in crate::room)` says who may see an item, and imports nothing.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add_path_in_code(&segments);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.add_tokens(called.tokens.clone());
    }
}

/// A cycle among these edges, as the files that it passes; `None` where there is none.
pub(super) fn cycle(edges: &BTreeSet<(PathBuf, PathBuf)>) -> Option<Vec<PathBuf>> {
    let mut to: BTreeMap<&PathBuf, Vec<&PathBuf>> = BTreeMap::new();
    for (from, target) in edges {
        to.entry(from).or_default().push(target);
    }
    let mut done = BTreeSet::new();
    to.keys().find_map(|start| follow(start, &to, &mut Vec::new(), &mut done))
}

fn follow<'a>(
    file: &'a PathBuf,
    to: &BTreeMap<&'a PathBuf, Vec<&'a PathBuf>>,
    trail: &mut Vec<&'a PathBuf>,
    done: &mut BTreeSet<&'a PathBuf>,
) -> Option<Vec<PathBuf>> {
    if let Some(at) = trail.iter().position(|passed| *passed == file) {
        let cycle = trail[at..].iter().chain([&file]);
        return Some(cycle.map(|file| (*file).clone()).collect());
    }
    if !done.insert(file) {
        return None;
    }
    trail.push(file);
    for next in to.get(file).into_iter().flatten() {
        if let Some(cycle) = follow(next, to, trail, done) {
            return Some(cycle);
        }
    }
    trail.pop();
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Sources {
        files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect()
    }

    fn cycle_of(files: &[(&str, &str)]) -> Option<Vec<PathBuf>> {
        cycle(&Imports::read(&sources(files)).edges())
    }

    #[test]
    fn two_files_that_import_each_other_are_a_cycle() {
        let found = cycle_of(&[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")]);

        assert_eq!(found.map(|files| files.len()), Some(3));
    }

    #[test]
    fn a_cycle_is_seen_through_a_re_export_a_path_and_a_macro() {
        let re_export = [
            ("room/mod.rs", "mod a; mod b; pub use a::A;"),
            ("room/a.rs", "use super::b::B;"),
            ("room/b.rs", "use super::A;"),
        ];
        let path = [("a.rs", "fn f() { crate::b::g() }"), ("b.rs", "use crate::a::f;")];
        let in_macro =
            [("a.rs", "fn f() { run!({ crate::b::g().await }) }"), ("b.rs", "use crate::a::f;")];

        for files in [&re_export[..], &path[..], &in_macro[..]] {
            assert!(cycle_of(files).is_some(), "{files:?}");
        }
    }

    #[test]
    fn a_parent_that_uses_a_child_that_uses_its_parent_is_a_cycle() {
        let files = [
            ("room/mod.rs", "mod a; use a::f; pub struct Shared;"),
            ("room/a.rs", "use super::Shared;"),
        ];

        assert!(cycle_of(&files).is_some());
    }

    #[test]
    fn a_parent_that_uses_what_it_re_exports_of_a_child_that_uses_it_is_a_cycle() {
        let child = ("room/a.rs", "use super::Shared; pub struct A(Shared);");
        let in_type = ("room/mod.rs", "mod a; pub use a::A; pub struct Shared; fn f(a: A) {}");
        let in_path = ("room/mod.rs", "mod a; pub use a::A; pub struct Shared; fn f() { A::f() }");
        let in_macro = ("room/mod.rs", "mod a; pub use a::A; pub struct Shared; run!({ A::f() });");

        for parent in [in_type, in_path, in_macro] {
            assert!(cycle_of(&[parent, child]).is_some(), "{parent:?}");
        }
    }

    #[test]
    fn re_exports_unit_tests_and_a_longer_way_down_are_no_cycle() {
        let files = [
            ("room/mod.rs", "mod a; mod b; pub use a::A; pub use b::B; pub struct Shared;"),
            ("room/a.rs", "use super::{B, Shared};"),
            ("room/b.rs", "use super::Shared; #[cfg(test)] mod tests { use super::super::A; }"),
            ("other/mod.rs", "mod c; use c::C;"),
            ("other/c.rs", "pub(in crate::other) struct C;"),
        ];

        assert_eq!(cycle_of(&files), None);
    }
}
