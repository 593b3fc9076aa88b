"""What the API takes and gives, as data: the operations by path and method, and the OpenAPI
document that is made of them. It answers no request."""
