"""A language model as the mind of a stand-in agent: any server of OpenAI's chat completions."""
