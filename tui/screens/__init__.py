"""The screens beside the conversation, one module each. A screen ends by `dismiss(result)`; None: nothing was chosen."""
