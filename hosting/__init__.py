"""Where everything is put together: settings, the web application, the cloud SDKs, Azure Functions."""
