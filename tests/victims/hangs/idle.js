// A server without clients.
require("http").createServer(() => {}).listen(0, "127.0.0.1", () => {
    console.log(`kind none\nsince ${Date.now() / 1000}\nready`);
});
