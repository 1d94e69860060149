//! What is given up, step by step, so that the agent stays within its limits.

/// A step, with all that stand before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Shed {
    /// Nothing.
    #[default]
    Nothing,
    /// Bodies.
    Bodies,
    /// Heads: no exchange is seen.
    Heads,
    /// Connections that are new.
    Connections,
}

impl Shed {
    /// All of them, in order.
    pub const ALL: [Shed; 4] = [Shed::Nothing, Shed::Bodies, Shed::Heads, Shed::Connections];

    /// The name in metrics, status and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Shed::Nothing => "nothing",
            Shed::Bodies => "bodies",
            Shed::Heads => "heads",
            Shed::Connections => "connections",
        }
    }

    /// The one after it; the last stays.
    #[must_use]
    pub const fn more(self) -> Shed {
        match self {
            Shed::Nothing => Shed::Bodies,
            Shed::Bodies => Shed::Heads,
            Shed::Heads | Shed::Connections => Shed::Connections,
        }
    }

    /// The one before it; the first stays.
    #[must_use]
    pub const fn less(self) -> Shed {
        match self {
            Shed::Nothing | Shed::Bodies => Shed::Nothing,
            Shed::Heads => Shed::Bodies,
            Shed::Connections => Shed::Heads,
        }
    }
}
