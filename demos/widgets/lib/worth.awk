# What all pieces in stock are worth.
{ cents += $3 * $4 }
END { printf "%.2f\n", cents / 100 }
