// Spins in a function that is compiled while it runs, below one that is interpreted.

function spinsForEver(seed) {
    let sum = seed;
    for (;;) sum = (sum * 31 + 7) % 1000003;
}

function callsSpin() {
    return spinsForEver(process.pid) + 1;
}

require("fs").writeSync(1, "ready\n");
callsSpin();
