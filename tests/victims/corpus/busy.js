// Computes, reads files and compresses, in turns and for ever; makes the file it is told after some turns.
const fs = require('fs'), zlib = require('zlib'), crypto = require('crypto');
const text = fs.readFileSync(__filename, 'utf8').repeat(50);
function turn(n) {
    if (n === 30)
        fs.writeFileSync(process.argv[2], '');
    const words = text.split(/\s+/).map((word, at) => ({ word, at })).sort((a, b) => (a.word < b.word ? -1 : 1));
    JSON.parse(JSON.stringify(words));
    crypto.createHash('sha256').update(text).digest('hex');
    zlib.deflate(text, () => fs.readFile(__filename, () => setTimeout(turn, n % 3, n + 1)));
}
for (let i = 0; i < 3; i++)
    turn(i);
