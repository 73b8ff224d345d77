//! Licence expressions (SPDX): whether a list of allowed licences satisfies one.

/// Whether `expression`, such as `(MIT OR Apache-2.0) AND Unicode-3.0`, can be satisfied by allowed licences. The old
/// `MIT/Apache-2.0` means OR.
pub(crate) fn satisfied(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut parser = Parser { words: spaced.split_whitespace().collect(), at: 0, allowed };
    parser.any().is_some_and(|satisfied| satisfied && parser.at == parser.words.len())
}

struct Parser<'a> {
    words: Vec<&'a str>,
    at: usize,
    allowed: &'a [String],
}

impl Parser<'_> {
    fn any(&mut self) -> Option<bool> {
        let mut satisfied = self.all()?;
        while self.take("OR") {
            satisfied |= self.all()?;
        }
        Some(satisfied)
    }

    fn all(&mut self) -> Option<bool> {
        let mut satisfied = self.one()?;
        while self.take("AND") {
            satisfied &= self.one()?;
        }
        Some(satisfied)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let inner = self.any()?;
            return self.take(")").then_some(inner);
        }
        let mut licence = (*self.words.get(self.at)?).to_owned();
        self.at += 1;
        if self.take("WITH") {
            licence = format!("{licence} WITH {}", self.words.get(self.at)?);
            self.at += 1;
        }
        Some(self.allowed.contains(&licence))
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at).is_some_and(|next| *next == word);
        self.at += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_weighed() {
        let allowed = ["MIT".to_owned(), "Unicode-3.0".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
        let ok = |expression| satisfied(expression, &allowed);
        assert!(ok("MIT"));
        assert!(ok("GPL-3.0 OR MIT"));
        assert!(ok("GPL-3.0/MIT"));
        assert!(ok("(GPL-3.0 OR MIT) AND Unicode-3.0"));
        assert!(ok("Apache-2.0 WITH LLVM-exception OR Apache-2.0"));
        assert!(!ok("MIT AND GPL-3.0"));
        assert!(!ok("Apache-2.0"));
        assert!(!ok(""));
        assert!(!ok("(MIT"));
        assert!(!ok("MIT MIT"));
    }
}
