"""Files of jobs in an object store, or in a folder: `shared.application.files` on the library obstore."""
