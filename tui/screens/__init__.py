"""The screens beside the conversation, one module each. Each ends by `dismiss(result)`; None: nothing was chosen."""
