//! Load shedding: what the agent gives up, step by step, to stay within its limits.

/// A step; each includes all that come before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Shed {
    /// Nothing.
    #[default]
    Nothing,
    /// Bodies.
    Bodies,
    /// Heads: no exchanges are captured.
    Heads,
    /// New connections.
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

    /// The next step; the last step stays.
    #[must_use]
    pub const fn more(self) -> Shed {
        match self {
            Shed::Nothing => Shed::Bodies,
            Shed::Bodies => Shed::Heads,
            Shed::Heads | Shed::Connections => Shed::Connections,
        }
    }

    /// The previous step; the first step stays.
    #[must_use]
    pub const fn less(self) -> Shed {
        match self {
            Shed::Nothing | Shed::Bodies => Shed::Nothing,
            Shed::Heads => Shed::Bodies,
            Shed::Connections => Shed::Heads,
        }
    }
}
