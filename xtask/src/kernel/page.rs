//! Puts the tables that commands print into documentation pages. In: a page, two lines in it, a table. Out: the page with the table between them.

use anyhow::{Context, Result};

use crate::shell;

/// Where a table belongs.
pub(super) struct Place {
    /// The page.
    pub page: &'static str,
    /// The line before the table, which names the command, and the line after it.
    pub marks: [&'static str; 2],
}

impl Place {
    /// Writes the table into the page.
    pub(super) fn keep(&self, table: &str) -> Result<()> {
        let path = shell::workspace().join(self.page);
        let page = std::fs::read_to_string(&path).with_context(|| format!("{} can't be read", self.page))?;
        let placed = self.placed(&page, table)?;
        std::fs::write(&path, placed).with_context(|| format!("{} can't be written", self.page))
    }

    fn placed(&self, page: &str, table: &str) -> Result<String> {
        let [first, last] = self.marks;
        let (before, rest) = page.split_once(first).context("the page has no place for the table")?;
        let (_, after) = rest.split_once(last).context("the place for the table has no end")?;
        Ok(format!("{before}{first}\n{table}\n{last}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_goes_between_the_marks() {
        let place = Place { page: "docs/page.md", marks: ["<!-- command -->\n", "<!-- as printed -->\n"] };
        let page = "before\n<!-- command -->\n\n| old |\n\n<!-- as printed -->\nafter\n";
        let placed = place.placed(page, "| new |\n").unwrap_or_default();
        assert_eq!(placed, "before\n<!-- command -->\n\n| new |\n\n<!-- as printed -->\nafter\n");
        assert!(place.placed("before", "").is_err());
    }
}
