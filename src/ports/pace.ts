export interface Turn {
  /** Does a little, and asks again if there is more. */
  take(): void;
}

/**
 * Lets those who have something to tell take turns, within a share of this process's time: telling thousands must not keep the
 * agent from its own work. What happens while they wait is told in one.
 */
export interface Pace {
  /** Gives it a turn, soon; once, however often it is asked for. */
  ask(turn: Turn): void;
}
