"""From kept runs to the leaderboard, the plots and the report; no model is loaded."""
