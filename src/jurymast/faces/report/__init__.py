"""The report: what a person would send to a partner, as HTML, Markdown or JSON."""
