// Names in place of numbers, which depend on the folder of the checkout: the same sources give the same bundle anywhere.
module.exports = { optimization: { moduleIds: "named" } };
